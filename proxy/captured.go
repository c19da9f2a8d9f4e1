package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strconv"

	"github.com/weft-mesh/weft/proxy/internal/capture"
	"github.com/weft-mesh/weft/proxy/internal/datagram"
	"github.com/weft-mesh/weft/proxy/internal/dnspass"
	"github.com/weft-mesh/weft/proxy/internal/netspace"
)

// captured are the sockets that the app's traffic is redirected to.
type captured struct {
	outbound []net.Listener // one for each family: the kernel redirects to the loopback address
	inbound  net.Listener
	// packets are what the app sends; datagrams what reaches it, nil when it takes none.
	packets   *capture.Packets
	datagrams *datagram.Socket
	dns       []*dnspass.Pass
}

// resolvConf names the resolvers of host and app.
const resolvConf = "/etc/resolv.conf"

// space is where the app is.
func (c *Config) space() (*netspace.Space, error) {
	if c.Capture.NamespaceFD == 0 {
		return netspace.Own(), nil
	}
	return netspace.Inherited(c.Capture.NamespaceFD)
}

// listenCaptured opens them in explicit mode not at all.
func (o *opener) listenCaptured(cfg Config, space *netspace.Space) (*captured, error) {
	if !cfg.Capture.Transparent {
		return nil, nil
	}
	ctx := context.Background()
	c := &captured{}
	for _, host := range capture.Loopbacks() {
		ln, err := o.listenMarked(ctx, space, host, cfg.Capture.OutboundPort)
		if err != nil {
			return nil, fmt.Errorf("listen for what the app sends: %w", err)
		}
		c.outbound = append(c.outbound, ln)
	}
	var err error
	if c.inbound, err = o.listenMarked(ctx, space, "", cfg.Capture.InboundPort); err != nil {
		return nil, fmt.Errorf("listen for what reaches the app: %w", err)
	}
	if c.packets, err = capture.ListenPackets(ctx, space, cfg.Capture.OutboundPort); err != nil {
		return nil, err
	}
	o.open = append(o.open, c.packets)
	if cfg.datagrams() {
		if c.datagrams, err = o.listenCapturedDatagrams(ctx, space, cfg.Capture.InboundPort); err != nil {
			return nil, err
		}
	}
	c.dns, err = o.listenDNS(ctx, space)
	return c, err
}

// listenDNS serves the host's loopback resolvers to an app in another namespace.
func (o *opener) listenDNS(ctx context.Context, space *netspace.Space) ([]*dnspass.Pass, error) {
	if !space.Separate() {
		return nil, nil
	}
	resolvers, err := dnspass.Loopback(resolvConf)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var out []*dnspass.Pass
	for _, at := range resolvers {
		p, err := dnspass.Listen(ctx, space, at, at, o.log.Named("dnspass"))
		if err != nil {
			return nil, err
		}
		o.open = append(o.open, p)
		out = append(out, p)
	}
	return out, err
}

// listenMarked opens a listener whose connections are the sidecar's own to the kernel's rules.
func (o *opener) listenMarked(ctx context.Context, space *netspace.Space, host string, port uint16) (net.Listener, error) {
	ln, err := space.Listen(ctx, net.JoinHostPort(host, strconv.Itoa(int(port))), capture.Spare)
	if err == nil {
		o.open = append(o.open, ln)
	}
	return ln, err
}

func (o *opener) listenCapturedDatagrams(ctx context.Context, space *netspace.Space, port uint16) (*datagram.Socket, error) {
	conn, err := space.ListenPacket(ctx, "udp", net.JoinHostPort("", strconv.Itoa(int(port))), capture.Spare)
	if err != nil {
		return nil, fmt.Errorf("listen for datagrams that reach the app: %w", err)
	}
	s, err := datagram.On(conn)
	if err == nil {
		o.open = append(o.open, s)
	}
	return s, err
}

// close may be called on nothing.
func (c *captured) close() {
	if c == nil {
		return
	}
	all := []io.Closer{c.inbound, c.packets}
	for _, ln := range c.outbound {
		all = append(all, ln)
	}
	for _, p := range c.dns {
		all = append(all, p)
	}
	if c.datagrams != nil {
		all = append(all, c.datagrams)
	}
	for _, socket := range all {
		_ = socket.Close() // it ends with the process at the latest
	}
}
