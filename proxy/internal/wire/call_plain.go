//go:build !linux || race || plainio

package wire

import "io"

// call has no state where the net package makes the calls.
type call struct{}

func (c *Conn) write(p []byte) (int, error) { return c.nc.Write(p) }

func (c *Conn) fill() error {
	if err := c.room(); err != nil {
		return err
	}
	n, err := c.nc.Read(c.buf.B[c.w:])
	c.w += n
	c.brim = c.w == len(c.buf.B)
	if n > 0 {
		return nil
	}
	c.vacate()
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

func (c *Conn) turn(p []byte) (written int, err error) {
	if written, err = c.nc.Write(p); err != nil {
		return written, err
	}
	return written, c.fill()
}
