package datagram

import (
	"sync"

	"github.com/weft-mesh/weft/proxy/internal/flow"
)

// Splice is Relay for a session of the mesh port: between the client's sidecar and the program.
func (s *Session) Splice(client *Stream, app *App, rec *flow.Record) flow.Reason {
	var receiving sync.WaitGroup
	receiving.Go(func() {
		err := app.Receive(func(payload []byte) { s.Push(payload) })
		s.end(flow.ReasonOf(err, flow.UpstreamReset), err)
	})
	reason := s.Relay(client, app.Write, rec)
	app.Abort()
	receiving.Wait()
	return reason
}
