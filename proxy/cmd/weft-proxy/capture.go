package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/pflag"

	"github.com/weft-mesh/weft/proxy"
)

const captureHelp = `weft-proxy capture programs the packet filter and the routes of the network namespace that it runs in, so that a
program's traffic goes through its sidecar: TCP and UDP, IPv4 and IPv6, out and in. DNS, traffic inside the namespace, and the
sidecar's own (by its mark 0x539 or its user 1337) are left alone. Without a sidecar that listens, captured traffic is refused.
It needs CAP_NET_ADMIN, and changes nothing but the table "inet weft" and one routing rule.

Usage: weft-proxy capture [flags]

`

// runCapture is the command that prepares a namespace, and cleans it again.
func runCapture(args []string, stdout, stderr io.Writer) int {
	cfg := proxy.DefaultRedirect()
	var remove, check bool
	var exclude []uint
	f := pflag.NewFlagSet("weft-proxy capture", pflag.ContinueOnError)
	f.Usage = func() {}
	f.Uint16Var(&cfg.Outbound, "outbound-port", cfg.Outbound, "where what the program sends is redirected to")
	f.Uint16Var(&cfg.Inbound, "inbound-port", cfg.Inbound, "where plaintext that reaches the program is redirected to")
	f.Uint16Var(&cfg.Mesh, "mesh-port", 0, "the sidecar's port for mTLS, when it listens in this namespace (0: it does not)")
	f.UintSliceVar(&exclude, "exclude-outbound", nil, "destination ports that are not captured; every one is a hole in strict mode")
	f.BoolVar(&remove, "remove", false, "take away everything that this command programs")
	f.BoolVar(&check, "check-config", false, "check the flags and exit")
	err := f.Parse(args)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		fmt.Fprint(stdout, captureHelp+f.FlagUsages())
		return exitOK
	case err == nil && f.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", f.Arg(0))
	case err == nil:
		cfg.ExcludeOutbound, err = ports(exclude)
	}
	if err == nil {
		err = cfg.Validate()
	}
	if err != nil {
		fmt.Fprintf(stderr, "weft-proxy capture: %v\n", err)
		return exitUsage
	}
	switch {
	case check:
		fmt.Fprintln(stdout, "ok")
	case remove:
		err = proxy.StopRedirect()
	default:
		err = proxy.Redirect(cfg)
	}
	if err != nil {
		fmt.Fprintf(stderr, "weft-proxy capture: %v\n", err)
		return exitError
	}
	return exitOK
}

func ports(numbers []uint) ([]uint16, error) {
	out := make([]uint16, 0, len(numbers))
	for _, n := range numbers {
		if n == 0 || n > 65535 {
			return nil, fmt.Errorf("--exclude-outbound: %d is not a number from 1 to 65535", n)
		}
		out = append(out, uint16(n))
	}
	return out, nil
}
