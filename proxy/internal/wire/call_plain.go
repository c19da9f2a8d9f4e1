//go:build !linux || race || plainio

package wire

// call has no state where the net package makes the calls.
type call struct{}

func (c *Conn) write(p []byte) (int, error) { return c.nc.Write(p) }

func (c *Conn) fill() error { return c.read() }

func (c *Conn) turn(p []byte) (written int, err error) {
	if written, err = c.nc.Write(p); err != nil {
		return written, err
	}
	return written, c.read()
}
