package lab

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/weft-mesh/weft/integration/harness"
)

// Workload is a program in the mesh.
type Workload struct {
	// Name of the workload, empty for any; Account of its identity, the service's name when empty; Service, empty for one that only calls.
	Name, Account, Service string
	// Namespace; empty: default.
	Namespace string
	// Port that it listens on.
	Port int
	// Protocol of the port; empty: told from the first bytes.
	Protocol string
	// Labels, k=v.
	Labels []string
	// Upstreams that it calls, by name.
	Upstreams []string
	// Flags of weft run besides.
	Flags []string
}

// Address of an upstream for a program's command line. In explicit mode weft run puts the loopback address there; with
// transparent capture it is the name that programs use anywhere.
func (h *Host) Address(service string, port int) string {
	if h.net.opts.Transparent {
		return service + ":" + strconv.Itoa(port)
	}
	return "{" + service + "}"
}

// args is the command line of weft run.
func (h *Host) args(w Workload, command []string) []string {
	args := []string{"weft", "run"}
	add := func(flag, value string) {
		if value != "" {
			args = append(args, flag, value)
		}
	}
	add("--name", w.Name)
	add("--namespace", w.Namespace)
	add("--account", w.Account)
	add("--service", w.Service)
	add("--protocol", w.Protocol)
	if w.Port != 0 {
		args = append(args, "--port", strconv.Itoa(w.Port))
	}
	for _, l := range w.Labels {
		args = append(args, "--label", l)
	}
	if h.net.opts.Transparent {
		args = append(args, "--capture=transparent")
	} else {
		args = append(args, "--capture=explicit")
		for _, u := range w.Upstreams {
			args = append(args, "--upstream", u)
		}
	}
	args = append(args, w.Flags...)
	return append(append(args, "--"), command...)
}

// Run starts a program in the mesh; it returns at once. What it prints is in Log(w.Name).
func (h *Host) Run(w Workload, command ...string) (*harness.Process, error) {
	return h.Start(w.Name, h.args(w, command)...)
}

// Call runs a program in the mesh to its end and returns what it printed. A failure of it is an error.
func (h *Host) Call(ctx context.Context, w Workload, command ...string) (string, error) {
	out, code, err := h.Output(ctx, h.args(w, command)...)
	if err == nil && code != 0 {
		err = fmt.Errorf("host %s: %s: exit code %d: %s", h.Name, strings.Join(command, " "), code, out)
	}
	return out, err
}

// Join makes a host one that may start workloads, by a token minted where the administrator is.
func (h *Host) Join(ctx context.Context, admin *Host, namespace string, accounts ...string) (string, error) {
	args := []string{"token", "host", "--name", h.Name, "-n", namespace}
	if len(accounts) > 0 {
		args = append(args, "--accounts", strings.Join(accounts, ","))
	}
	token, code, err := admin.Weft(ctx, args...)
	if err != nil || code != 0 {
		return "", fmt.Errorf("token for host %s: exit code %d: %w: %s", h.Name, code, err, token)
	}
	out, code, err := h.Weft(ctx, "join", strings.TrimSpace(token))
	if err != nil || code != 0 {
		return out, fmt.Errorf("host %s joins: exit code %d: %w: %s", h.Name, code, err, out)
	}
	return out, nil
}
