package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// problem is an RFC 9457 problem. Code and Errors are extensions.
type problem struct {
	// Type is a URI that names the sort of problem.
	Type string `json:"type"`
	// Title says in a few words what the type means.
	Title string `json:"title"`
	// Status is the HTTP status again.
	Status int `json:"status"`
	// Detail says what went wrong this time.
	Detail string `json:"detail,omitempty"`
	// Instance is the path that was asked for.
	Instance string `json:"instance,omitempty"`
	// Code is the name of the gRPC status.
	Code string `json:"code,omitempty"`
	// Errors names the fields that are wrong.
	Errors []fieldProblem `json:"errors,omitempty"`
	// retryAfter is for the header of that name, in seconds.
	retryAfter int
}

type fieldProblem struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

// problemOf makes a problem of a status.
func problemOf(st *status.Status, path string) problem {
	code := st.Code()
	p := problem{
		Type:  "https://weft.dev/problems/" + dashed(code),
		Title: title(code), Status: runtime.HTTPStatusFromCode(code), Detail: st.Message(), Instance: path, Code: code.String(),
	}
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.BadRequest:
			for _, v := range d.GetFieldViolations() {
				p.Errors = append(p.Errors, fieldProblem{Field: v.GetField(), Message: v.GetDescription()})
			}
		case *errdetails.RetryInfo:
			p.retryAfter = int(math.Ceil(d.GetRetryDelay().AsDuration().Seconds()))
		}
	}
	return p
}

// dashed turns InvalidArgument into invalid-argument.
func dashed(code codes.Code) string {
	var b strings.Builder
	for i, r := range code.String() {
		if r >= 'A' && r <= 'Z' && i > 0 {
			b.WriteByte('-')
		}
		b.WriteRune(r)
	}
	return strings.ToLower(b.String())
}

func title(code codes.Code) string {
	switch code {
	case codes.InvalidArgument, codes.FailedPrecondition, codes.OutOfRange:
		return "The request is invalid"
	case codes.NotFound:
		return "There is no such object"
	case codes.AlreadyExists:
		return "There is an object of that name already"
	case codes.Aborted:
		return "The object has changed since it was read"
	case codes.PermissionDenied:
		return "The caller may not do this"
	case codes.Unauthenticated:
		return "The caller is not known"
	case codes.Unavailable:
		return "The control plane cannot answer now"
	case codes.ResourceExhausted:
		return "The caller asks too much"
	case codes.DeadlineExceeded:
		return "The control plane did not answer in time"
	case codes.Unimplemented:
		return "There is no such method"
	default:
		return "Something went wrong in the control plane"
	}
}

func write(w http.ResponseWriter, p problem) {
	w.Header().Del("Trailer")
	w.Header().Del("Transfer-Encoding")
	w.Header().Set("Content-Type", "application/problem+json")
	switch p.Status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="weft"`)
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		w.Header().Set("Retry-After", strconv.Itoa(max(p.retryAfter, 1)))
	}
	w.WriteHeader(p.Status)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(p) // a client that is gone cannot be told so
}

// handleError writes a call's error.
func handleError(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, err error) {
	if body, ok := r.Context().Value(bodyKey{}).(*limitedBody); ok && body.exceeded {
		write(w, tooLarge(r, body.limit))
		return
	}
	write(w, problemOf(status.Convert(err), r.URL.Path))
}

// limitedBody knows whether a request's body was cut: what reads it makes another error of that.
type limitedBody struct {
	io.ReadCloser
	limit    int
	exceeded bool // the request's own goroutine only
}

type bodyKey struct{}

// Read reads some of it.
func (b *limitedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	var cut *http.MaxBytesError
	b.exceeded = b.exceeded || errors.As(err, &cut)
	return n, err
}

func tooLarge(r *http.Request, limit int) problem {
	return problem{
		Type: "about:blank", Title: http.StatusText(http.StatusRequestEntityTooLarge), Status: http.StatusRequestEntityTooLarge,
		Detail: fmt.Sprintf("the body has more than %d bytes, which is as large as it may be (gateway-max-body)", limit), Instance: r.URL.Path,
	}
}

// handleRouting writes that there is no such path, or not with that method.
func handleRouting(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, code int) {
	p := problem{Type: "about:blank", Title: http.StatusText(code), Status: code, Instance: r.URL.Path}
	switch code {
	case http.StatusNotFound:
		p.Detail = "nothing is served at this path; /openapi.json lists what is"
	case http.StatusMethodNotAllowed:
		p.Detail = "method " + r.Method + " is not served at this path; /openapi.json lists what is"
	}
	write(w, p)
}
