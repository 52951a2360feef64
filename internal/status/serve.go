package status

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	maxConns = 64 // more would eat the descriptors that uploads need
	endTime  = 5 * time.Second
)

// Serve answers on the listener until ctx ends, then lets requests finish for
// up to 5 s, cuts the rest, and returns nil. It always closes the listener.
// A request that is slow to arrive or an answer that is slow to be taken is
// cut as well, and so is every connection beyond 64.
func Serve(ctx context.Context, ln net.Listener, h http.Handler) error {
	var open atomic.Int64
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      2 * queryTime,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ConnState: func(c net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				if open.Add(1) > maxConns {
					c.Close()
				}
			case http.StateClosed:
				open.Add(-1)
			}
		},
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ln) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTime)
	defer cancel()
	if srv.Shutdown(grace) != nil {
		srv.Close()
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
