package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// runFlags are the flags of `weft run`.
type runFlags struct {
	service   string
	port      uint16
	protocol  string
	udp       bool
	account   string
	name      string
	labels    []string
	upstreams []string
	proxy     string
	stateDir  string
	logLevel  string
	accessLog bool
	capture   captureFlags
	control   string
	advertise string
	check     bool
	temporary bool // nobody can find the state directory again: it goes with the program
}

func runCommand(o *options) *cobra.Command {
	f := &runFlags{}
	cmd := &cobra.Command{
		Use:   "run [--service NAME --port P] [--upstream NAME...] -- CMD [ARG...]",
		Short: "Start a program in the mesh",
		Long: `Start a sidecar, then the program beside it, and end with the program's exit code.

The program becomes an endpoint of --service once it accepts connections on --port. It calls other services by their names
(http://reviews/) when its traffic is captured, which takes root or CAP_NET_ADMIN and CAP_SYS_ADMIN: then it has a network
namespace of its own and cannot go round its sidecar. Without the privilege, or with --capture=explicit, it reaches them
through loopback addresses, one for each --upstream NAME[:PORT[/udp]][=LOCALPORT]: in the environment as
WEFT_UPSTREAM_<NAME>, and in its command line wherever {NAME} stands. For a port of UDP it is WEFT_UPSTREAM_<NAME>_UDP and
{NAME/udp}, and the short form too unless the same service is reached by TCP. These work in both modes.

A signal (SIGTERM, SIGINT) takes the program out of the mesh first, waits up to 2 s until every caller knows, and is then
passed on. The caller's administrator's token pays for the identity; the program never sees it.`,
		Example: `  weft run --service reviews --port 9080 --label version=v2 -- python3 reviews.py 9080
  weft run --account web --upstream reviews -- curl http://{reviews}/`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("give the program to start after --")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := errors.Join(f.capture.complete(), f.complete()); err != nil {
				return usageError{err}
			}
			if f.control != "" {
				o.gateway = f.control
			}
			if f.check {
				return o.checkRun(cmd.Context(), f)
			}
			code, err := o.run(cmd.Context(), f, args)
			if code == 0 && err == nil {
				return nil
			}
			return codeError{code, err}
		},
	}
	f.add(cmd)
	return cmd
}

func (f *runFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.SetInterspersed(false)
	flags.StringVar(&f.service, "service", "", "service that the program is an endpoint of")
	flags.Uint16Var(&f.port, "port", 0, "port that the program listens on")
	flags.StringVar(&f.protocol, "protocol", "", "how the port speaks: http, http2, grpc, tcp or udp (default: told from the first bytes)")
	flags.BoolVar(&f.udp, "udp", false, "the program takes datagrams (UDP) on its port, besides what --protocol says")
	flags.StringVar(&f.account, "account", "", "account of the program's identity (default: the service's name)")
	flags.StringVar(&f.name, "name", "", "name of the workload (default: the account and a random suffix)")
	flags.StringArrayVar(&f.labels, "label", nil, "label k=v that routes can select on; may be repeated")
	flags.StringArrayVar(&f.upstreams, "upstream", nil, "service to reach, NAME[:PORT[/udp]][=LOCALPORT]; may be repeated")
	flags.StringVar(&f.control, "control-plane", os.Getenv("WEFT_CONTROL_PLANE"), "HOST[:PORT] of a control plane on another machine (default: --gateway)")
	flags.StringVar(&f.advertise, "advertise", os.Getenv("WEFT_ADVERTISE"), "IP address at which other machines reach this one (default: the one towards the control plane)")
	flags.StringVar(&f.proxy, "proxy", os.Getenv("WEFT_PROXY"), "path of weft-proxy (default: beside weft, then in PATH)")
	flags.StringVar(&f.stateDir, "state-dir", "", "directory of the sidecar's state (default <data-dir>/sidecars/<namespace>.<name>)")
	flags.StringVar(&f.logLevel, "log-level", "warn", "log level of the sidecar")
	f.capture.add(flags)
	flags.BoolVar(&f.check, "check-config", false, "check the flags and exit")
	flags.BoolVar(&f.accessLog, "access-log", false, "the sidecar writes one line for each request to standard output")
}

func (f *runFlags) complete() (err error) {
	if f.control != "" {
		if f.control, err = gatewaysAt(f.control); err != nil {
			return err
		}
	}
	if f.advertise != "" && net.ParseIP(f.advertise) == nil {
		return fmt.Errorf("--advertise %q is not an IP address", f.advertise)
	}
	switch {
	case f.service != "" && f.port == 0:
		return errors.New("--service needs --port, the port that the program listens on")
	case f.service == "" && f.port != 0:
		return errors.New("--port needs --service, the service that it belongs to")
	case f.udp && f.port == 0:
		return errors.New("--udp needs --port, the port that the program takes datagrams on")
	case f.service == "" && f.account == "":
		return errors.New("give --service NAME --port P, or --account A for a program that only calls others")
	}
	if f.account == "" {
		f.account = f.service
	}
	if f.name == "" {
		f.temporary = f.stateDir == ""
		f.name = f.account + "-" + suffix()
	}
	return nil
}

// run is the whole life of a program in the mesh.
func (o *options) run(ctx context.Context, f *runFlags, command []string) (int, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if f.temporary {
		defer func() { _ = os.RemoveAll(f.stateDir) }() // after the sidecar has ended
	}
	if f.stateDir == "" {
		f.stateDir = filepath.Join(o.dataDir, "sidecars", o.namespace+"."+f.name)
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)

	binary, err := findProxy(f.proxy)
	if err != nil {
		return exitProgramError, err
	}
	token, code, err := o.joinToken(ctx, f, signals)
	if err != nil {
		return code, err
	}
	if token != "" {
		if err := o.refreshBundle(ctx); err != nil {
			fmt.Fprintf(o.streams.Err, "weft: the trust bundle in %s stays as it is: %s\n", o.dataDir, describe(err))
		}
	}
	if f.advertise == "" {
		if f.advertise, err = o.advertised(ctx, f.stateDir, token); err != nil {
			return exitProgramError, err
		}
	}
	place, err := o.makePlace(f, binary)
	if err != nil {
		return exitProgramError, err
	}
	defer place.close(o.streams.Err)
	car, err := o.startSidecar(f, binary, token, place)
	if err != nil {
		return exitProgramError, err
	}
	defer car.stop()
	if code, err := car.waitStarted(ctx, signals, o.streams.Err); err != nil {
		return code, err
	}
	prog, err := startProgram(command, car.upstreams(), place)
	if err != nil {
		return programStartCode(err), err
	}
	for {
		select {
		case sig := <-signals:
			o.leave(ctx, car)
			prog.signal(sig)
		case err := <-prog.ended:
			o.leave(ctx, car)
			return programExitCode(err), nil
		}
	}
}

// leave takes the workload out of the mesh and waits until its callers know, at most 2 s. Only the first call does anything.
func (o *options) leave(ctx context.Context, car *sidecar) {
	const patience = 2 * time.Second
	revision, err := car.deregister(ctx)
	if err != nil {
		fmt.Fprintf(o.streams.Err, "weft: deregister: %s\n", err)
		return
	}
	if revision == nil {
		return
	}
	c, err := o.connect()
	if err != nil {
		return
	}
	defer c.Close()
	_, _ = watchConvergence(ctx, c, revision, patience, ignoreConvergence)
}
