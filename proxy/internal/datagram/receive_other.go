//go:build !unix

package datagram

import "github.com/weft-mesh/weft/proxy/internal/wire"

// Receive reads datagrams.
func (a *App) Receive(deliver func([]byte)) error {
	buf := wire.Get(wire.Large)
	defer buf.Release()
	for {
		n, err := a.conn.Read(buf.B)
		if err != nil {
			return refused(err)
		}
		deliver(buf.B[:n])
	}
}
