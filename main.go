// Tertulia is a group chat without a server: every participant runs a node,
// and all nodes show the same messages in the same order.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	// The first signal asks everything to stop; after it, signals kill at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(program{os.Stdin, os.Stdout, os.Stderr, os.LookupEnv}.run(ctx, os.Args[1:]))
}

// program is what a command sees of the world around it.
type program struct {
	in     io.Reader
	out    io.Writer
	err    io.Writer
	getenv func(string) (string, bool)
}
