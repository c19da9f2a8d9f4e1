package admin

import (
	"net/http"
	"slices"
	"time"

	"github.com/weft-mesh/weft/proxy/internal/flow"
)

// flowView is a flow in /debug/flows.
type flowView struct {
	Direction string  `json:"direction"`
	Protocol  string  `json:"protocol"`
	Stage     string  `json:"stage"`
	Age       float64 `json:"age_seconds"`
	Client    string  `json:"client,omitempty"`
	Peer      string  `json:"peer,omitempty"`
	Service   string  `json:"service,omitempty"`
	Endpoint  string  `json:"endpoint,omitempty"`
	Request   string  `json:"request,omitempty"`
	Sent      int64   `json:"bytes_sent"`
	Received  int64   `json:"bytes_received"`
}

// flows lists what is under way, the oldest first.
func (s *Server) flows(w http.ResponseWriter, _ *http.Request) {
	all := s.deps.Flows()
	slices.SortFunc(all, func(a, b flow.Live) int { return a.Since.Compare(b.Since) })
	body := struct {
		Flows []flowView `json:"flows"`
	}{make([]flowView, 0, len(all))}
	for _, f := range all {
		body.Flows = append(body.Flows, flowView{
			Direction: f.Direction.String(), Protocol: f.Protocol.String(), Stage: f.Stage, Age: time.Since(f.Since).Seconds(),
			Client: f.Client, Peer: f.Peer, Service: f.Service, Endpoint: f.Endpoint, Request: f.Request, Sent: f.Sent, Received: f.Received,
		})
	}
	s.write(w, body)
}
