// Command shop holds the demo's Go programs: small services of a web shop that know nothing of a mesh. They get the
// addresses of what they call on their command lines, speak plain HTTP, gRPC and TCP, and could run anywhere.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// program is one of the shop's services; it runs until ctx ends.
type program func(ctx context.Context, args []string) error

func main() {
	programs := map[string]program{
		"web": web, "cart": cart, "reviews": reviews, "ratings": ratings, "store": store, "load": load, "probe": probe,
	}
	if len(os.Args) < 2 || programs[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: shop web|cart|reviews|ratings|store|load|probe [flags]")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := programs[os.Args[1]](ctx, os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "shop %s: %s\n", os.Args[1], err)
		os.Exit(1)
	}
}
