package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"syscall"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/internal/control"
	"github.com/weft-mesh/weft/proxy/internal/netspace"
	"github.com/weft-mesh/weft/proxy/internal/statedir"
)

// ports is what ports.json says: where the sidecar listens.
type ports struct {
	Mesh      string            `json:"mesh"`
	Inbound   string            `json:"inbound,omitempty"`
	Datagrams string            `json:"datagrams,omitempty"` // plaintext to the app by UDP
	Admin     string            `json:"admin"`
	Upstreams map[string]string `json:"upstreams"`
}

// listeners are the sidecar's open sockets.
type listeners struct {
	mesh, admin net.Listener
	control     *control.Listener
	inbound     net.Listener            // plaintext to the app; nil without an app's port
	upstreams   map[string]net.Listener // by Upstream.Key
	captured    *captured               // nil in explicit mode
	packets     packets
	sockets     map[string]syscall.Conn // all of them, by the name under which the next process gets them
}

// opener opens sockets, on the ports of the last run where none is asked for: peers, and the app, still know those. What the
// process before this one has handed over is open already.
type opener struct {
	log       *zap.Logger
	last      ports
	inherited *inheritance // nil: none
	sockets   map[string]syscall.Conn
	open      []io.Closer
}

// listen opens every socket, or none.
func listen(cfg Config, space *netspace.Space, dir *statedir.Dir, from *inheritance, log *zap.Logger) (_ *listeners, err error) {
	o := &opener{log: log, last: readPorts(dir, log), inherited: from, sockets: map[string]syscall.Conn{}}
	defer func() {
		if err != nil {
			o.close()
		}
	}()
	const loopback = "127.0.0.1"
	host := bindHost(cfg.Advertise)
	l := &listeners{upstreams: map[string]net.Listener{}, sockets: o.sockets}
	if l.mesh, err = o.listen("mesh", netspace.Own(), host, cfg.MeshPort, o.last.Mesh); err != nil {
		return nil, err
	}
	if cfg.streams() {
		if l.inbound, err = o.plaintext(&cfg, host); err != nil {
			return nil, err
		}
	}
	if l.admin, err = o.listen("admin", netspace.Own(), loopback, cfg.AdminPort, o.last.Admin); err != nil {
		return nil, err
	}
	for _, u := range cfg.Upstreams {
		if u.UDP {
			continue
		}
		if l.upstreams[u.Key()], err = o.listen("upstream "+u.Key(), space, loopback, u.LocalPort, o.last.Upstreams[u.Key()]); err != nil {
			return nil, err
		}
	}
	if l.packets, err = o.packets(cfg, space, host); err != nil {
		return nil, err
	}
	if l.captured, err = o.listenCaptured(cfg, space); err != nil {
		return nil, err
	}
	if l.control, err = o.control(dir.Path("")); err != nil {
		return nil, err
	}
	return l, writePorts(dir, l)
}

// plaintext opens the port for callers outside of the mesh, if there is to be one.
func (o *opener) plaintext(cfg *Config, host string) (net.Listener, error) {
	port, required := cfg.plaintextPort()
	if required {
		return o.listen("inbound", netspace.Own(), host, port, o.last.Inbound)
	}
	if port == 0 {
		return nil, nil
	}
	ln, err := o.listen("inbound", netspace.Own(), host, port, "")
	if err != nil {
		o.unpublished(port, err)
		return nil, nil
	}
	return ln, nil
}

// unpublished says what follows from a port of the host that somebody else has.
func (o *opener) unpublished(port uint16, err error) {
	o.log.Info("the app's port is not published on this host: callers without a sidecar cannot reach it", zap.Uint16("port", port), zap.Error(err))
}

// bindHost is where the mesh and plaintext ports listen: on loopback when that is what peers are told, else everywhere, since
// an advertised address may be another one than the machine's own.
func bindHost(advertise string) string {
	if addr, err := netip.ParseAddr(advertise); err == nil && addr.IsLoopback() {
		return advertise
	}
	return ""
}

func (o *opener) listen(what string, space *netspace.Space, host string, want uint16, last string) (net.Listener, error) {
	port := want
	if want == 0 {
		port = portOf(last)
	}
	if l, err := o.inherit(what); l != nil || err != nil {
		return l, err
	}
	ctx := context.Background() // names are not resolved: nothing to wait for
	l, err := space.Listen(ctx, net.JoinHostPort(host, strconv.Itoa(int(port))), nil)
	if err != nil && want == 0 && port != 0 {
		o.log.Warn("port of the last run is taken, another one is used", zap.String("listener", what), zap.Uint16("port", port))
		l, err = space.Listen(ctx, net.JoinHostPort(host, "0"), nil)
	}
	if err != nil {
		return nil, fmt.Errorf("listen for %s: %w", what, err)
	}
	o.keep(what, l)
	return l, nil
}

func (o *opener) close() {
	for _, l := range o.open {
		l.Close()
	}
}

func portOf(address string) uint16 {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return 0
	}
	return a.Port()
}

func (l *listeners) close() {
	l.mesh.Close()
	l.admin.Close()
	_ = l.control.Close()
	if l.inbound != nil {
		l.inbound.Close()
	}
	for _, ln := range l.upstreams {
		ln.Close()
	}
	l.captured.close()
	l.packets.close()
}

// control opens the socket in the state directory.
func (o *opener) control(dir string) (l *control.Listener, err error) {
	if f := o.inherited.take(controlName); f != nil {
		l, err = control.Inherit(f)
	} else {
		l, err = control.Listen(dir)
	}
	if err == nil {
		o.open = append(o.open, l)
		o.sockets[controlName] = l
	}
	return l, err
}

// names are those of all sockets.
func (l *listeners) names() []string { return slices.Sorted(maps.Keys(l.sockets)) }

func (l *listeners) silence() {
	l.packets.silence()
	l.captured.silence()
}

func readPorts(dir *statedir.Dir, log *zap.Logger) ports {
	var p ports
	raw, err := dir.Read(statedir.Ports)
	if err == nil {
		err = json.Unmarshal(raw, &p)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		log.Warn("ports of the last run are not known, other ports are used: who was told those must be started again",
			zap.String("file", dir.Path(statedir.Ports)), zap.Error(err))
		return ports{}
	}
	return p
}

func writePorts(dir *statedir.Dir, l *listeners) error {
	p := ports{Mesh: l.mesh.Addr().String(), Admin: l.admin.Addr().String(), Upstreams: map[string]string{}}
	if l.inbound != nil {
		p.Inbound = l.inbound.Addr().String()
	}
	for key, ln := range l.upstreams {
		p.Upstreams[key] = ln.Addr().String()
	}
	l.packets.describe(&p)
	raw, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return fmt.Errorf("encode ports: %w", err)
	}
	return dir.Write(statedir.Ports, append(raw, '\n'))
}
