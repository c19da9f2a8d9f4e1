// Command weft-proxy is Weft's sidecar: it stands beside one program and carries its traffic into and out of the mesh.
//
// It ends with 0 after a clean drain, 1 when something went wrong, 2 when it was called wrongly.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/pflag"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/internal/buildinfo"
	"github.com/weft-mesh/weft/internal/logging"
	"github.com/weft-mesh/weft/internal/rpctext"
	"github.com/weft-mesh/weft/proxy"
	"github.com/weft-mesh/weft/proxy/internal/successor"
)

const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == "capture" {
		return runCapture(args[1:], stdout, stderr)
	}
	o, err := parse(args, os.LookupEnv, stdout)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		fmt.Fprint(stdout, o.help())
		return exitOK
	case err != nil:
		fmt.Fprintf(stderr, "weft-proxy: %v\n", err)
		return exitUsage
	case o.version:
		fmt.Fprintln(stdout, buildinfo.Version())
		return exitOK
	}
	log, err := logging.New(logging.Config{Level: o.logLevel, Out: stderr})
	if err == nil && !o.check {
		err = upgrades(o, args)
	}
	if err != nil {
		fmt.Fprintf(stderr, "weft-proxy: %v\n", err)
		return exitUsage
	}
	sidecar, err := proxy.New(o.config, log)
	if err != nil {
		fmt.Fprintf(stderr, "weft-proxy: %v\n", err)
		return exitUsage
	}
	if o.check {
		fmt.Fprintln(stdout, "ok")
		return exitOK
	}
	tune(log, os.DirFS("/"), os.LookupEnv)
	return serve(sidecar, log, stderr)
}

// upgrades says how this process is replaced by a new one.
func upgrades(o *options, args []string) (err error) {
	requests := make(chan os.Signal, 1)
	signal.Notify(requests, syscall.SIGUSR2)
	up := &o.config.Upgrade
	up.Requests = requests
	if o.supervisorFD != 0 {
		up.Starter, err = successor.NewSupervised(uintptr(o.supervisorFD))
		return err
	}
	if !o.config.TakeOver {
		args = append([]string{"--take-over"}, args...)
	}
	up.Starter = successor.NewChild(os.Args[0], args, o.config.Capture.NamespaceFD)
	return nil
}

// serve runs until SIGTERM or SIGINT asks for the drain; a second signal ends the process at once, as the default has it.
func serve(sidecar *proxy.Proxy, log *zap.Logger, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	context.AfterFunc(ctx, stop)
	err := sidecar.Run(ctx)
	_ = log.Sync() // standard error cannot be synced everywhere
	if err != nil {
		fmt.Fprintf(stderr, "weft-proxy: %s\n", rpctext.Plain(err.Error()))
		return exitError
	}
	return exitOK
}
