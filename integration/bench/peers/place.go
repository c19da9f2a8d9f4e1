package peers

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/weft-mesh/weft/integration/bench/app"
	"github.com/weft-mesh/weft/integration/bench/load"
	"github.com/weft-mesh/weft/integration/harness"
)

// The contenders.
const (
	Weft    = "weft"
	Nginx   = "nginx"
	HAProxy = "haproxy"
	Envoy   = "envoy"
	NetHTTP = "net/http"
)

// Names are all contenders, Weft first.
func Names() []string { return []string{Weft, Nginx, HAProxy, Envoy, NetHTTP} }

// What the app speaks; each is a listener of its own.
const (
	HTTP = "http"
	GRPC = "grpc"
	TCP  = "tcp"
)

// Protocols are all of them.
func Protocols() []string { return []string{HTTP, GRPC, TCP} }

// Place is where contenders are started, and with what.
type Place struct {
	// Dir is for everything that they write.
	Dir string
	// Bin is the folder of the built binaries, Self this program, Debian and Envoy where the peers are unpacked.
	Bin, Self, Debian, Envoy string
	// Cores that the proxies run on, as taskset takes them.
	Cores string
	// Single: one proxy alone, without TLS, instead of a pair.
	Single bool
	// App is behind them.
	App app.Addresses
	// Ports hands out ports.
	Ports *harness.Ports
	// Files are the certificates of the peers.
	Files Files
}

// Contender is a pair, or a single proxy, that runs.
type Contender struct {
	// Name of it.
	Name string
	// Entry is where clients connect, for each protocol.
	Entry map[string]netip.AddrPort
	// Inner is the inbound half's listener for HTTP over mTLS, and TLS how one proves oneself there.
	Inner netip.AddrPort
	TLS   *load.TLS

	front     *harness.Process
	back      map[string]*harness.Process // by protocol; empty with one proxy alone
	processes []*harness.Process
	mesh      *mesh
}

// Start starts a contender; it serves soon, not at once.
func (p Place) Start(ctx context.Context, name string) (*Contender, error) {
	p.Dir = filepath.Join(p.Dir, strings.ReplaceAll(name, "/", ""))
	if err := os.MkdirAll(p.Dir, 0o700); err != nil {
		return nil, err
	}
	c := &Contender{Name: name, back: map[string]*harness.Process{}}
	var err error
	switch name {
	case Weft:
		err = p.weft(ctx, c)
	case Nginx, HAProxy, Envoy, NetHTTP:
		err = p.peer(c)
	default:
		err = fmt.Errorf("there is no such contender: there are %s", strings.Join(Names(), ", "))
	}
	if err != nil {
		logs := c.Logs()
		c.Stop()
		return nil, fmt.Errorf("start %s: %w\n%s", name, err, logs)
	}
	return c, nil
}

// Front are the processes of the outbound half, or of a proxy alone.
func (c *Contender) Front() []int { return harness.Family(c.front.Pid()) }

// Back are the processes of the inbound half.
func (c *Contender) Back(protocol string) []int {
	if b := c.back[protocol]; b != nil {
		return harness.Family(b.Pid())
	}
	return nil
}

// Alive is an error when one of its processes has ended.
func (c *Contender) Alive() error {
	for _, p := range c.processes {
		if p.Ended() {
			return fmt.Errorf("%s of %s has ended", p.Name, c.Name)
		}
	}
	return nil
}

// Stop ends its processes, all at once.
func (c *Contender) Stop() {
	for _, p := range c.processes {
		p.Signal(syscall.SIGTERM)
	}
	for _, p := range slices.Backward(c.processes) {
		p.End()
	}
	if c.mesh != nil {
		c.mesh.Stop()
	}
}

// Logs is the end of what its processes wrote.
func (c *Contender) Logs() string {
	var b strings.Builder
	for _, p := range c.processes {
		if data, err := os.ReadFile(p.Log); err == nil && len(data) > 0 {
			fmt.Fprintf(&b, "--- %s\n%s\n", p.Log, data[max(0, len(data)-2000):])
		}
	}
	return b.String()
}

// run starts a program on the proxies' cores.
func (p Place) run(c *Contender, name string, env []string, args ...string) (*harness.Process, error) {
	process, err := harness.Command{
		Name: name, Log: filepath.Join(p.Dir, name+".log"), Env: append(os.Environ(), env...),
		Args: append([]string{"taskset", "-c", p.Cores}, args...),
	}.Start()
	if err != nil {
		return nil, err
	}
	c.processes = append(c.processes, process)
	return process, nil
}

// Addresses chooses one for each protocol.
func (p Place) Addresses() (app.Addresses, error) {
	var a app.Addresses
	var errs []error
	for _, at := range []*netip.AddrPort{&a.HTTP, &a.GRPC, &a.TCP} {
		port, err := p.Ports.Port()
		errs = append(errs, err)
		*at = loopback(port)
	}
	return a, errors.Join(errs...)
}

func loopback(port int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port))
}
