package fanout

import (
	"fmt"
	"net/netip"
	"strings"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/model"
)

// receiver reads a stream's requests. It never waits for what is being sent, so that a sidecar that sends and one that is
// sent to cannot block each other.
type receiver struct {
	recv func() (*configpb.StreamRequest, error)
}

func newReceiver(ss configpb.ConfigService_StreamServer) *receiver {
	return &receiver{recv: ss.Recv}
}

// serve handles requests until the stream ends, and then ends the session.
func (r *receiver) serve(s *session) {
	for {
		request, err := r.recv()
		if err == nil {
			err = s.handle(request)
		}
		if err != nil {
			s.end(err)
			return
		}
	}
}

func (s *session) handle(request *configpb.StreamRequest) error {
	switch r := request.GetRequest().(type) {
	case *configpb.StreamRequest_Subscribe:
		return s.subscribe(r.Subscribe)
	case *configpb.StreamRequest_Ack:
		return s.ack(r.Ack)
	case *configpb.StreamRequest_Open:
		return fault.New(fault.Invalid, "`open` may be sent once only")
	default:
		return fault.New(fault.Invalid, "a request of a kind that this version does not know")
	}
}

// keys reads names of services, "namespace/name".
func keys(field string, names []string) ([]model.Key, error) {
	out := make([]model.Key, 0, len(names))
	var problems []fault.Field
	for i, text := range names {
		ns, name, ok := strings.Cut(text, "/")
		if !ok || ns == "" || name == "" || strings.Contains(name, "/") {
			problems = append(problems, fault.Field{Path: fmt.Sprintf("%s[%d]", field, i), Problem: fmt.Sprintf("%q is not namespace/name", text)})
			continue
		}
		out = append(out, model.Key{Namespace: ns, Name: name})
	}
	return out, fault.InvalidFields("subscription", problems)
}

// addressList reads IP addresses in their one spelling, which is also how their resources are named.
func addressList(field string, texts []string) ([]netip.Addr, error) {
	out := make([]netip.Addr, 0, len(texts))
	var problems []fault.Field
	for i, text := range texts {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" || a.Is4In6() || a.String() != text {
			problems = append(problems, fault.Field{Path: fmt.Sprintf("%s[%d]", field, i), Problem: fmt.Sprintf("%q is not an IP address in its shortest form", text)})
			continue
		}
		out = append(out, a)
	}
	return out, fault.InvalidFields("subscription", problems)
}
