package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/weft-mesh/weft/internal/buildinfo"
	"github.com/weft-mesh/weft/internal/control"
	"github.com/weft-mesh/weft/proxy/internal/statedir"
)

// Names of what is handed over beside the listeners.
const (
	lockName    = "lock"
	controlName = "control"
)

// inheritance is what the process that had this sidecar's place has handed over.
type inheritance struct {
	conn       *control.Conn
	files      map[string]*os.File // what is not used yet, by name
	keys       []byte              // of session tickets
	registered bool                // the workload is in the catalogue
}

// takeOver asks the process that has a state directory for everything. It goes on serving until it is told that this one does.
func takeOver(ctx context.Context, path string) (_ *inheritance, err error) {
	conn, err := control.Dial(ctx, path)
	if err != nil {
		return nil, err
	}
	in := &inheritance{conn: conn, files: map[string]*os.File{}}
	defer func() {
		if err != nil {
			in.close()
		}
	}()
	if err := conn.Send(control.Message{Kind: control.TakeOver, PID: os.Getpid(), Version: buildinfo.Version()}); err != nil {
		return nil, err
	}
	for {
		m, f, err := conn.Receive(ctx)
		if f != nil {
			in.files[m.Name] = f
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil, errors.New("the running sidecar does not give its place away now; see its log")
		case err != nil:
			return nil, err
		case m.Kind == control.Offered:
			in.keys, in.registered = m.Keys, m.Registered
			if in.files[lockName] == nil {
				return nil, errors.New("the lock of the state directory is missing")
			}
			return in, nil
		case m.Kind != control.Socket || f == nil:
			return nil, fmt.Errorf("%q came instead of a socket", m.Kind)
		}
	}
}

// take returns what has a name, once; nil: nothing has.
func (in *inheritance) take(name string) *os.File {
	if in == nil {
		return nil
	}
	f := in.files[name]
	delete(in.files, name)
	return f
}

// dir is the state directory, whose lock was handed over.
func (in *inheritance) dir(path string) *statedir.Dir { return statedir.Adopt(path, in.take(lockName)) }

// refuse tells the old process why this one does not take over.
func (in *inheritance) refuse(err error) {
	if in != nil {
		_ = in.conn.Send(control.Message{Kind: control.Ready, Error: err.Error()}) // it sees the end of this process, too
	}
}

// close gives back what was not used: listeners that this process was not told to have.
func (in *inheritance) close() {
	if in == nil {
		return
	}
	_ = in.conn.Close()
	for _, f := range in.files {
		_ = f.Close()
	}
}

// inherit returns a listener that was handed over; nil: there is none.
func (o *opener) inherit(what string) (net.Listener, error) {
	f := o.inherited.take(what)
	if f == nil {
		return nil, nil
	}
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("take over the listener for %s: %w", what, err)
	}
	o.keep(what, l)
	return l, nil
}

// inheritPackets is inherit for UDP.
func (o *opener) inheritPackets(what string) (net.PacketConn, error) {
	f := o.inherited.take(what)
	if f == nil {
		return nil, nil
	}
	defer f.Close()
	c, err := net.FilePacketConn(f)
	if err != nil {
		return nil, fmt.Errorf("take over the socket for %s: %w", what, err)
	}
	o.keepPackets(what, c)
	return c, nil
}

// keep notes an open listener.
func (o *opener) keep(what string, l net.Listener) {
	o.open = append(o.open, l)
	if s, ok := l.(syscall.Conn); ok {
		o.sockets[what] = s
	}
}

// keepPackets is keep for UDP; nil is no socket.
func (o *opener) keepPackets(what string, c net.PacketConn) {
	if c == nil {
		return
	}
	o.open = append(o.open, c)
	if s, ok := c.(syscall.Conn); ok {
		o.sockets[what] = s
	}
}
