package forward

import (
	"strconv"

	"github.com/weft-mesh/weft/proxy/internal/flow"
)

// answer is how a failure of the proxy's own looks on HTTP/1.1.
type answer struct {
	hop       flow.Direction
	reason    flow.Reason
	status    int // 0: the reason's
	requestID string
	close     bool
	head      bool   // the request was HEAD: no body
	over      string // what says which limit is exceeded; empty: none
}

// append writes the whole response.
func (a answer) append(dst []byte) []byte {
	info := a.reason.Info()
	status := a.status
	if status == 0 {
		status = info.HTTP
	}
	length := len("weft : : \n") + len(a.hop.String()) + len(info.Name) + len(info.Advice)
	if a.over != "" {
		length += len(": ") + len(a.over)
	}
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(append(dst, ' '), phrase(status)...)
	dst = append(dst, "\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: "...)
	dst = strconv.AppendInt(dst, int64(length), 10)
	dst = append(dst, "\r\nweft-error: "...)
	dst = flow.AppendErrorHeader(dst, a.hop, a.reason, a.requestID)
	if status == 405 {
		dst = append(append(dst, "\r\nAllow: "...), flow.Methods...)
	}
	if a.close {
		dst = append(dst, "\r\nConnection: close"...)
	}
	dst = append(dst, "\r\n\r\n"...)
	if a.head {
		return dst
	}
	dst = append(append(append(dst, "weft "...), a.hop.String()...), ": "...)
	dst = append(append(append(dst, info.Name...), ": "...), info.Advice...)
	if a.over != "" {
		dst = append(append(dst, ": "...), a.over...)
	}
	return append(dst, '\n')
}

// phrase names the statuses that proxies answer with.
func phrase(status int) string {
	switch status {
	case 400:
		return "Bad Request"
	case 403:
		return "Forbidden"
	case 404:
		return "Not Found"
	case 405:
		return "Method Not Allowed"
	case 408:
		return "Request Timeout"
	case 414:
		return "URI Too Long"
	case 431:
		return "Request Header Fields Too Large"
	case 502:
		return "Bad Gateway"
	case 503:
		return "Service Unavailable"
	case 504:
		return "Gateway Timeout"
	case 508:
		return "Loop Detected"
	}
	return "Error"
}
