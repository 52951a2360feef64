package sandbox

import (
	"crypto/rand"
	"strings"
	"sync"
	"time"
)

// tokenStore issues bearer tokens and knows which are good.
type tokenStore struct {
	now  func() time.Time
	life time.Duration

	mu     sync.Mutex
	ends   map[string]time.Time
	pruned int // size after the last pruning
}

func newTokenStore(now func() time.Time, life time.Duration) *tokenStore {
	return &tokenStore{now: now, life: life, ends: map[string]time.Time{}}
}

// issue makes a token. Ended ones are forgotten whenever the store doubled.
func (s *tokenStore) issue() string {
	token, now := rand.Text(), s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ends) > 2*s.pruned+1000 {
		for t, end := range s.ends {
			if !now.Before(end) {
				delete(s.ends, t)
			}
		}
		s.pruned = len(s.ends)
	}
	s.ends[token] = now.Add(s.life)
	return token
}

// good reports whether the token was issued here and has not ended.
func (s *tokenStore) good(token string) bool {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	end, ok := s.ends[token]
	return ok && now.Before(end)
}

// expire ends one token.
func (s *tokenStore) expire(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.ends, token)
}

// expireAll ends every token.
func (s *tokenStore) expireAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.ends)
}

// bearer takes the token out of an Authorization header; "" if there is none.
func bearer(header string) string {
	scheme, token, ok := strings.Cut(header, " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}
