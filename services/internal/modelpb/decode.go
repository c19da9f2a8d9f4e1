package modelpb

import (
	"fmt"
	"maps"
	"math"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/model"
)

// decoder collects what a message says that the model cannot hold.
type decoder struct {
	problems []fault.Field
}

func (d *decoder) add(path, format string, args ...any) {
	d.problems = append(d.problems, fault.Field{Path: path, Problem: fmt.Sprintf(format, args...)})
}

// done names the object in the fault, or returns nil.
func (d *decoder) done(kind string, m model.Meta) error {
	return fault.InvalidFields(fmt.Sprintf("%s %q", kind, m.Key), d.problems)
}

func missing(kind string) error {
	return fault.InvalidFields(kind, []fault.Field{{Path: "", Problem: "the request holds no object"}})
}

func index(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

func (d *decoder) port(path string, n uint32) uint16 {
	if n > math.MaxUint16 {
		d.add(path, "%d is not a port; must be 1 to 65535", n)
		return 0
	}
	return uint16(n)
}

func (d *decoder) duration(path string, p *durationpb.Duration) time.Duration {
	if p == nil {
		return 0
	}
	if err := p.CheckValid(); err != nil || p.AsDuration() <= 0 {
		d.add(path, "must be more than 0 and at most 1h; leave it out for none")
		return 0
	}
	return p.AsDuration()
}

// enum checks a number against the highest value that this version knows.
func enum[To ~uint8, From ~int32](d *decoder, path string, value, highest From, allowed string) To {
	if value < 0 || value > highest {
		d.add(path, "%d is not known; must be %s", value, allowed)
		return 0
	}
	return To(value)
}

const protocols = "http, http2, grpc, tcp or udp, or left out"

func (d *decoder) protocol(path string, p typepb.Protocol) model.Protocol {
	return enum[model.Protocol](d, path, p, typepb.Protocol_PROTOCOL_UDP, protocols)
}

func (d *decoder) meta(m *typepb.ObjectMeta) model.Meta {
	return model.Meta{
		Key:    Key(m.GetNamespace(), m.GetName()),
		Labels: labels(m.GetLabels()), Etag: m.GetEtag(), Origin: m.GetOrigin(),
		CreateTime: d.moment("metadata.createTime", m.GetCreateTime()),
		UpdateTime: d.moment("metadata.updateTime", m.GetUpdateTime()),
	}
}

func (d *decoder) moment(path string, t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	if err := t.CheckValid(); err != nil {
		d.add(path, "is not a time")
		return time.Time{}
	}
	return t.AsTime()
}

// Key makes a key, turning an empty namespace into the default one.
func Key(namespace, name string) model.Key {
	if namespace == "" {
		namespace = model.DefaultNamespace
	}
	return model.Key{Namespace: namespace, Name: name}
}

// labels copies, so that neither side sees the other's changes; none is nil.
func labels(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	return maps.Clone(m)
}

func texts(s []string) []string { return append([]string(nil), s...) }
