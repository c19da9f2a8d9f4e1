package supervise

import (
	"context"

	"github.com/weft-mesh/weft/internal/control"
)

// say tells the process something; one that does not hear it is about to be seen to end.
func (p *process) say(m control.Message) { _ = p.conn.Send(m) }

// listen passes on what the process says, until it ends.
func (p *process) listen(to chan<- event, over <-chan struct{}) {
	for {
		m, f, err := p.conn.Receive(context.Background())
		if f != nil {
			_ = f.Close()
		}
		if err != nil {
			return
		}
		select {
		case to <- event{process: p, message: &m}:
		case <-over:
			return
		}
	}
}
