package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"
)

// Limits on what connections may cost.
const (
	maxConns         = 256              // connections open at once; more wait
	maxConnStreams   = 128              // calls at once on one HTTP/2 connection
	maxHeaderBytes   = 16 << 10         // request line and header
	headerTimeout    = 5 * time.Second  // to send the header
	idleTimeout      = 2 * time.Minute  // between two calls
	shutdownTimeout  = 1 * time.Second  // for calls to end when the server is asked to stop
	pingAfter        = 15 * time.Second // of silence on an HTTP/2 connection
	pingTimeout      = 15 * time.Second // for the answer to a ping
	writeByteTimeout = 30 * time.Second // for a client to take any byte at all
)

// Serve answers calls on l with h until ctx ends, then closes l, ends all
// streams and returns nil. It speaks HTTP/1.1 and unencrypted HTTP/2, so that
// curl and gRPC both work.
func Serve(ctx context.Context, l net.Listener, h http.Handler) error {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{
		Handler:           h,
		Protocols:         &protocols,
		MaxHeaderBytes:    maxHeaderBytes,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: maxConnStreams,
			SendPingTimeout:      pingAfter,
			PingTimeout:          pingTimeout,
			WriteByteTimeout:     writeByteTimeout,
		},
		// Streams end because the context of their request ends.
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		timeout, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
		defer cancel()
		if server.Shutdown(timeout) != nil {
			server.Close()
		}
	})
	err := server.Serve(netutil.LimitListener(l, maxConns))
	if !stop() {
		<-stopped
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("api: serve %s: %w", l.Addr(), err)
}
