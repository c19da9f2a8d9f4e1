package main

import (
	"context"
	"errors"
	"os/exec"
	"regexp"
	"strings"
)

// chooseCapture finds out whether this machine lets programs' traffic be captured, by trying.
func (d *demo) chooseCapture(ctx context.Context) error {
	_, errOut, err := d.run(ctx, "run", "--capture", "transparent", "--account", "first", "--", "true")
	var exit *exec.ExitError
	switch {
	case err == nil:
		d.transparent = true
		d.out.say("capture is transparent: each program has a network namespace of its own and calls others by their names")
	case errors.As(err, &exit):
		why := strings.TrimSpace(errOut)
		if m := regexp.MustCompile(`needs root: (.*); --capture`).FindStringSubmatch(why); m != nil {
			why = "transparent needs root"
		}
		d.out.say("capture is explicit: programs are told the addresses of others (" + why + ")")
	default:
		return err
	}
	return nil
}

// mode is how every program of the demo is started.
func (d *demo) mode() string {
	if d.transparent {
		return "transparent"
	}
	return "explicit"
}

// upstreams are the flags that a program needs to reach others: none when its traffic is captured.
func (d *demo) upstreams(services ...string) []string {
	if d.transparent {
		return nil
	}
	var flags []string
	for _, s := range services {
		flags = append(flags, "--upstream", s)
	}
	return flags
}

// at is where a program finds a service: by its name, or where `weft run` puts its address. The shop's services declare no
// ports, so that any number leads to them.
func (d *demo) at(service string) string {
	if d.transparent {
		return service + ":80"
	}
	return "{" + service + "}"
}
