package h2

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/net/http2/hpack"

	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/limit"
)

// answerFailure tells the client that the proxy failed the request: in gRPC's way for gRPC, else as an HTTP response. When
// the response has begun already, gRPC can still be told in trailers; others only see a reset. Under x.mu.
func (x *exchange) answerFailure(reason flow.Reason, err error) (told bool) {
	info := reason.Info()
	own := string(flow.AppendErrorHeader(nil, x.server.cfg.Direction, reason, x.req.id))
	text := "weft " + x.server.cfg.Direction.String() + ": " + info.Name + ": " + info.Advice
	if over := debug(err); over != "" {
		text += ": " + over
	}
	down := x.down.conn
	switch {
	case x.req.grpc:
		fields := make([]hpack.HeaderField, 0, 5)
		if !x.responded {
			fields = append(fields,
				hpack.HeaderField{Name: ":status", Value: "200"},
				hpack.HeaderField{Name: "content-type", Value: "application/grpc"})
			x.rec.Status = 200
		}
		fields = append(fields,
			hpack.HeaderField{Name: "grpc-status", Value: strconv.Itoa(info.GRPC)},
			hpack.HeaderField{Name: "grpc-message", Value: percent(text)},
			hpack.HeaderField{Name: "weft-error", Value: own, Sensitive: true})
		x.rec.GRPCStatus = info.GRPC
		down.writeHeaders(x.down, fields, true)
		return true
	case x.responded:
		return false
	default:
		body := text + "\n"
		x.rec.Status = info.HTTP
		if over, ok := errors.AsType[*limit.Exceeded](err); ok && over.Name == limit.TargetBytes {
			x.rec.Status = http.StatusRequestURITooLong
		}
		head := x.req.method == "HEAD"
		fields := []hpack.HeaderField{
			{Name: ":status", Value: strconv.Itoa(x.rec.Status)},
			{Name: "content-type", Value: "text/plain; charset=utf-8"},
			{Name: "content-length", Value: strconv.Itoa(len(body))},
			{Name: "weft-error", Value: own, Sensitive: true},
		}
		if reason == flow.Tunnel {
			fields = append(fields, hpack.HeaderField{Name: "allow", Value: flow.Methods})
		}
		down.writeHeaders(x.down, fields, head)
		if !head {
			down.writeData(x.down, view(body), true, nil)
		}
		return true
	}
}

// percent encodes a grpc-message.
func percent(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c >= ' ' && c <= '~' && c != '%' {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}
