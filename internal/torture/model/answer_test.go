package model

import (
	"errors"

	"ingestd/internal/senders"
)

// answer is what the vendor makes of a whole body and says about it.
func (t *try) answer(got string) (senders.Receipt, error) {
	none := senders.Receipt{}
	refuse := func(err error) (senders.Receipt, error) {
		return none, errors.Join(err, t.effect(func() { t.tail.refused = true }))
	}
	switch t.s.fault {
	case tail429:
		return refuse(&senders.Error{Class: senders.RateLimited, Code: "rate_limited", Text: "told by the script", HTTPStatus: 429, RetryAfter: t.s.delay})
	case tail401:
		return refuse(t.fail(senders.Auth, 401))
	case tail404:
		return refuse(t.fail(senders.Refused, 404))
	case tail422:
		return refuse(t.rejected(422))
	}
	if t.dies(inTail) {
		return none, errGone
	}
	u := t.v.uploadOf(t.id)
	twice := false
	take := func() {
		twice = u != nil && u.bytes
		t.v.take(t.key, got, u)
	}
	late := func() { t.v.takeLate(t.key, got, u) }
	nothing := func() {}
	do, class, status := take, senders.Class(""), 201
	switch t.s.fault {
	case lostEffect:
		class, status = senders.InDoubt, 0
	case lostNothing:
		do, class, status = nothing, senders.InDoubt, 0
	case lostLate:
		do, class, status = late, senders.InDoubt, 0
	case error5xx:
		class, status = senders.InDoubt, 500
	case error5xxNone:
		do, class, status = nothing, senders.InDoubt, 502
	case error504:
		do, class, status = late, senders.InDoubt, 504
	case tailHeld:
		class, status = senders.Held, 302
	}
	if err := t.effect(do); err != nil {
		return none, err
	}
	switch {
	case t.dies(afterTail):
		return none, errGone
	case t.s.fault == panicLate:
		panic("told by the script")
	case class != "":
		return none, t.fail(class, status)
	case t.s.fault == slow && !t.wait(t.s.delay):
		return none, t.fail(senders.InDoubt, 0)
	case twice && !t.a.Own:
		return none, t.fail(senders.Held, 409)
	}
	return senders.Receipt{HTTPStatus: status, Duplicate: twice, IDs: map[string]string{"mining_id": "m-" + t.key[:6]}}, nil
}
