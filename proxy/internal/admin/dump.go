package admin

import (
	"encoding/json"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/proxy/internal/uplink"
)

// Dump is what a sidecar holds; no keys.
type Dump struct {
	Namespace, Workload, TrustDomain, SPIFFEID string
	SVIDExpiry                                 time.Time
	Version                                    string
	// Links by service of the control plane.
	Links map[string]uplink.Status
	// Current, Confirmed: see subscribe.Status.
	Current   bool
	Confirmed time.Time
	Sequence  uint64
	IndexSize int
	Services  []string
	Vector    *typepb.RevisionVector
	Resources []*configpb.Resource
	Refused   []*configpb.Nack
	// Registered revision of the workload; nil when it is not registered.
	Registered *typepb.SourceRevision
	// RegisterError is what discovery refuses.
	RegisterError string
}

type dumpView struct {
	Namespace     string                   `json:"namespace"`
	Workload      string                   `json:"workload"`
	TrustDomain   string                   `json:"trust_domain"`
	SPIFFEID      string                   `json:"spiffe_id"`
	SVIDExpiry    time.Time                `json:"svid_expire_time"`
	Version       string                   `json:"build_version"`
	Links         map[string]uplink.Status `json:"control_plane"`
	Current       bool                     `json:"current"`
	Confirmed     time.Time                `json:"confirm_time"`
	Sequence      uint64                   `json:"table_sequence"`
	IndexSize     int                      `json:"index_services"`
	Services      []string                 `json:"subscriptions"`
	Vector        json.RawMessage          `json:"applied"`
	Registered    json.RawMessage          `json:"registered"`
	RegisterError string                   `json:"register_error,omitempty"`
	Resources     []json.RawMessage        `json:"resources"`
	Refused       []json.RawMessage        `json:"refused"`
}

func (d Dump) view() (dumpView, error) {
	v := dumpView{
		Namespace: d.Namespace, Workload: d.Workload, TrustDomain: d.TrustDomain, SPIFFEID: d.SPIFFEID, SVIDExpiry: d.SVIDExpiry,
		Version: d.Version, Links: d.Links, Current: d.Current, Confirmed: d.Confirmed, Sequence: d.Sequence, IndexSize: d.IndexSize,
		Services: d.Services, RegisterError: d.RegisterError, Resources: []json.RawMessage{}, Refused: []json.RawMessage{},
	}
	var err error
	if v.Vector, err = encode(d.Vector); err != nil {
		return v, err
	}
	if v.Registered, err = encode(d.Registered); err != nil {
		return v, err
	}
	for _, r := range d.Resources {
		raw, err := encode(r)
		if err != nil {
			return v, fmt.Errorf("resource %q: %w", r.GetName(), err)
		}
		v.Resources = append(v.Resources, raw)
	}
	for _, n := range d.Refused {
		raw, err := encode(n)
		if err != nil {
			return v, fmt.Errorf("refusal of %q: %w", n.GetResource(), err)
		}
		v.Refused = append(v.Refused, raw)
	}
	return v, nil
}

func encode(m proto.Message) (json.RawMessage, error) {
	if !m.ProtoReflect().IsValid() { // a nil message
		return json.RawMessage("null"), nil
	}
	return protojson.Marshal(m)
}
