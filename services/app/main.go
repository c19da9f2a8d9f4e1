package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/pflag"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/internal/buildinfo"
	"github.com/weft-mesh/weft/internal/logging"
)

// Exit codes of the services' binaries.
const (
	exitOK      = 0
	exitError   = 1
	exitUsage   = 2
	exitInvalid = 3
)

// Main is the whole of a service's binary: flags, settings, run until a signal. It returns the exit code.
func Main(builds ...Build) int {
	name := processName(builds)
	fs := pflag.NewFlagSet("weft-"+name, pflag.ContinueOnError)
	fs.SortFlags = false
	Flags(fs)
	version := fs.Bool("version", false, "print the version and exit")
	switch err := fs.Parse(os.Args[1:]); {
	case errors.Is(err, pflag.ErrHelp):
		return exitOK
	case err != nil:
		return fail(fs, exitUsage, err)
	case fs.NArg() > 0:
		return fail(fs, exitUsage, fmt.Errorf("unexpected argument %q", fs.Arg(0)))
	case *version:
		fmt.Println(buildinfo.Version())
		return exitOK
	}
	settings, err := Load(fs, name)
	if err == nil {
		err = settings.Validate()
	}
	if err != nil {
		return fail(fs, exitInvalid, err)
	}
	if check, _ := fs.GetBool(flagCheck); check {
		fmt.Println("configuration is valid")
		return exitOK
	}
	log, err := logging.New(logging.Config{Level: settings.Log.Level, Format: settings.Log.Format})
	if err != nil {
		return fail(fs, exitInvalid, err)
	}
	if err := runUntilSignal(settings, log, builds); err != nil {
		log.Error("stopped by a failure", zap.Error(err))
		return exitError
	}
	return exitOK
}

// runUntilSignal stops gracefully at the first SIGINT or SIGTERM; the second one kills.
func runUntilSignal(settings *Settings, log *zap.Logger, builds []Build) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	defer context.AfterFunc(ctx, func() {
		stop()
		log.Info("stopping", zap.Duration("drain", settings.Drain))
	})()
	return Run(ctx, settings, log, builds...)
}

// processName is the service's name, or "up" for several.
func processName(builds []Build) string {
	if len(builds) == 1 {
		return builds[0].Name
	}
	return "up"
}

func fail(fs *pflag.FlagSet, code int, err error) int {
	fmt.Fprintf(os.Stderr, "%s: %v\n", fs.Name(), err)
	if code == exitUsage {
		fmt.Fprintf(os.Stderr, "Try %s --help.\n", filepath.Base(os.Args[0]))
	}
	return code
}
