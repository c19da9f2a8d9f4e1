package app

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"

	"github.com/weft-mesh/weft/integration/bench/loop"
)

// Addresses are where the app listens, for each protocol.
type Addresses struct {
	HTTP, GRPC, TCP netip.AddrPort
}

// Counts are of connections that were accepted, for each protocol.
type Counts struct {
	HTTP, GRPC, TCP atomic.Int64
}

// Body is what the app answers with: bytes that do not compress and are the same in every process. Of TCP it sends it over and
// over.
func Body(n int) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(random.Uint32())
	}
	return out
}

// Run serves until ctx ends.
func Run(ctx context.Context, at Addresses, counts *Counts) error {
	l, err := loop.New()
	if err != nil {
		return err
	}
	defer l.Close()
	bulk := Body(Chunk)
	for _, s := range []struct {
		at    netip.AddrPort
		count *atomic.Int64
		make  func(*loop.Conn) loop.Handler
	}{
		{at.HTTP, &counts.HTTP, newHTTP},
		{at.GRPC, &counts.GRPC, newGRPC},
		{at.TCP, &counts.TCP, func(c *loop.Conn) loop.Handler { return &stream{conn: c, bulk: bulk} }},
	} {
		err := l.Listen(s.at, func(fd int) error {
			c, err := l.Accept(fd, s.make)
			if c != nil {
				s.count.Add(1)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	for ctx.Err() == nil {
		if err := l.Turn(200); err != nil {
			return err
		}
	}
	return nil
}
