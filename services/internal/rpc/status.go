package rpc

import (
	"context"
	"errors"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weft-mesh/weft/internal/rpctext"
	"github.com/weft-mesh/weft/services/internal/fault"
)

// code maps the kinds of faults to gRPC codes; kind maps them back.
func code(k fault.Kind) codes.Code {
	switch k {
	case fault.Invalid:
		return codes.InvalidArgument
	case fault.NotFound:
		return codes.NotFound
	case fault.Exists:
		return codes.AlreadyExists
	case fault.Conflict:
		return codes.Aborted
	case fault.Denied:
		return codes.PermissionDenied
	case fault.Anonymous:
		return codes.Unauthenticated
	case fault.Unavailable:
		return codes.Unavailable
	case fault.Exhausted:
		return codes.ResourceExhausted
	default:
		return codes.Internal
	}
}

func kind(c codes.Code) fault.Kind {
	switch c {
	case codes.InvalidArgument, codes.OutOfRange, codes.FailedPrecondition:
		return fault.Invalid
	case codes.NotFound:
		return fault.NotFound
	case codes.AlreadyExists:
		return fault.Exists
	case codes.Aborted:
		return fault.Conflict
	case codes.PermissionDenied:
		return fault.Denied
	case codes.Unauthenticated:
		return fault.Anonymous
	case codes.Unavailable, codes.ResourceExhausted, codes.DeadlineExceeded, codes.Canceled:
		return fault.Unavailable
	default:
		return fault.Internal
	}
}

// toStatus makes the status that a caller gets. A status that a handler passes on from another service stays what it is.
func toStatus(err error) *status.Status {
	var f *fault.Error
	if errors.As(err, &f) {
		return withRetry(withFields(status.New(code(f.Kind), err.Error()), f.Fields), f.RetryAfter)
	}
	if st, ok := status.FromError(err); ok {
		return st
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return status.New(codes.DeadlineExceeded, err.Error())
	case errors.Is(err, context.Canceled):
		return status.New(codes.Canceled, err.Error())
	default:
		return status.New(codes.Internal, err.Error())
	}
}

func withFields(st *status.Status, fields []fault.Field) *status.Status {
	if len(fields) == 0 {
		return st
	}
	details := &errdetails.BadRequest{}
	for _, f := range fields {
		details.FieldViolations = append(details.FieldViolations, &errdetails.BadRequest_FieldViolation{Field: f.Path, Description: f.Problem})
	}
	if with, err := st.WithDetails(details); err == nil {
		return with
	}
	return st // the text still names the fields
}

func withRetry(st *status.Status, after time.Duration) *status.Status {
	if after <= 0 {
		return st
	}
	if with, err := st.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(after)}); err == nil {
		return with
	}
	return st // the text still says it
}

// FaultOf turns the error of a call into the fault that the server returned, with its fields, so that callers ask
// fault.Is(err, fault.NotFound) and never look at statuses. Errors that are no statuses come back as they are.
func FaultOf(err error) error {
	if err == nil {
		return nil
	}
	var f *fault.Error
	if errors.As(err, &f) {
		return err
	}
	st, ok := status.FromError(err)
	if !ok {
		return err
	}
	out := fault.New(kind(st.Code()), "%s", rpctext.Plain(st.Message()))
	for _, d := range st.Details() {
		bad, ok := d.(*errdetails.BadRequest)
		if !ok {
			continue
		}
		for _, v := range bad.GetFieldViolations() {
			out.Fields = append(out.Fields, fault.Field{Path: v.GetField(), Problem: v.GetDescription()})
		}
	}
	if len(out.Fields) > 0 { // the message names the fields too: a fault says them once
		out.Text, _, _ = strings.Cut(out.Text, ": "+out.Fields[0].Path+": ")
	}
	return out
}
