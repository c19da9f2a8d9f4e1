package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
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
		ln, err := o.listenMarked(ctx, "captured outbound "+host, space, host, cfg.Capture.OutboundPort)
		if err != nil {
			return nil, fmt.Errorf("listen for what the app sends: %w", err)
		}
		c.outbound = append(c.outbound, ln)
	}
	var err error
	if c.inbound, err = o.listenMarked(ctx, "captured inbound", space, "", cfg.Capture.InboundPort); err != nil {
		return nil, fmt.Errorf("listen for what reaches the app: %w", err)
	}
	if c.packets, err = o.listenCapturedPackets(ctx, space, cfg.Capture.OutboundPort); err != nil {
		return nil, err
	}
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
		p, err := o.listenResolver(ctx, space, at)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, err
}

// listenResolver serves one of them.
func (o *opener) listenResolver(ctx context.Context, space *netspace.Space, at netip.AddrPort) (_ *dnspass.Pass, err error) {
	what := "resolver " + at.String()
	packets, err := o.inheritPackets(what + datagrams)
	if err != nil {
		return nil, err
	}
	streams, err := o.inherit(what)
	if err != nil {
		return nil, err
	}
	if packets == nil || streams == nil {
		if packets, streams, err = dnspass.Listen(ctx, space, at); err != nil {
			return nil, fmt.Errorf("listen for %s: %w", what, err)
		}
		o.keepPackets(what+datagrams, packets)
		o.keep(what, streams)
	}
	return dnspass.New(at, packets, streams, o.log.Named("dnspass")), nil
}

// datagrams ends the name of a socket of UDP.
const datagrams = " datagrams"

// listenCapturedPackets opens the socket for the datagrams that the app sends.
func (o *opener) listenCapturedPackets(ctx context.Context, space *netspace.Space, port uint16) (*capture.Packets, error) {
	const what = "captured outbound" + datagrams
	conn, err := o.inheritPackets(what)
	if err != nil {
		return nil, err
	}
	if conn == nil {
		if conn, err = capture.ListenPackets(ctx, space, port); err != nil {
			return nil, err
		}
		o.keepPackets(what, conn)
	}
	return capture.NewPackets(space, conn)
}

// listenMarked opens a listener whose connections are the sidecar's own to the kernel's rules.
func (o *opener) listenMarked(ctx context.Context, what string, space *netspace.Space, host string, port uint16) (net.Listener, error) {
	ln, err := o.inherit(what)
	if ln != nil || err != nil {
		return ln, err
	}
	ln, err = space.Listen(ctx, net.JoinHostPort(host, strconv.Itoa(int(port))), capture.Spare)
	if err == nil {
		o.keep(what, ln)
	}
	return ln, err
}

func (o *opener) listenCapturedDatagrams(ctx context.Context, space *netspace.Space, port uint16) (*datagram.Socket, error) {
	const what = "captured inbound" + datagrams
	conn, err := o.inheritPackets(what)
	if conn == nil && err == nil {
		conn, err = space.ListenPacket(ctx, "udp", net.JoinHostPort("", strconv.Itoa(int(port))), capture.Spare)
		o.keepPackets(what, conn)
	}
	if err != nil {
		return nil, fmt.Errorf("listen for datagrams that reach the app: %w", err)
	}
	return datagram.On(conn)
}

// silence leaves what comes without a connection to another process. It may be called on nothing.
func (c *captured) silence() {
	if c == nil {
		return
	}
	c.packets.Silence()
	if c.datagrams != nil {
		c.datagrams.Silence()
	}
	for _, p := range c.dns {
		p.Silence()
	}
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
