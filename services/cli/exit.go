package cli

import (
	"errors"
	"fmt"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/internal/rpctext"
)

// Exit codes of weft. `weft run` ends with the program's own code instead: 128 + signal when a signal ended it, 125 when
// weft itself failed, 126 when the program cannot be executed, 127 when it is not found.
const (
	exitOK           = 0
	exitError        = 1
	exitUsage        = 2
	exitInvalid      = 3
	exitNotFound     = 4
	exitConflict     = 5
	exitDenied       = 6
	exitUnavailable  = 7
	exitNotConverged = 8
)

// usageError is a command line that cannot be understood.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// codeError carries the exit code itself; silent when the command has said everything already.
type codeError struct {
	code int
	err  error
}

func (e codeError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e codeError) Unwrap() error { return e.err }

func isSilent(err error) bool {
	var c codeError
	return errors.As(err, &c) && c.err == nil
}

// ExitCode turns the outcome of a command into the process's exit code.
func ExitCode(err error) int {
	if err == nil {
		return exitOK
	}
	var c codeError
	if errors.As(err, &c) {
		return c.code
	}
	var u usageError
	if errors.As(err, &u) || strings.HasPrefix(err.Error(), "unknown command") || strings.HasPrefix(err.Error(), "required flag") {
		return exitUsage
	}
	switch code(err) {
	case codes.InvalidArgument, codes.FailedPrecondition, codes.OutOfRange:
		return exitInvalid
	case codes.NotFound:
		return exitNotFound
	case codes.AlreadyExists, codes.Aborted:
		return exitConflict
	case codes.PermissionDenied, codes.Unauthenticated:
		return exitDenied
	case codes.Unavailable, codes.DeadlineExceeded, codes.ResourceExhausted:
		return exitUnavailable
	default:
		return exitError
	}
}

// code is the gRPC status in err's chain, or Unknown.
func code(err error) codes.Code {
	if s, ok := status.FromError(err); ok {
		return s.Code()
	}
	return codes.Unknown
}

// describe is the error as a person should read it: broken fields one on a line, and what to do where that is known.
func describe(err error) string {
	var call interface {
		error
		GRPCStatus() *status.Status
	}
	if !errors.As(err, &call) {
		return err.Error()
	}
	s := call.GRPCStatus()
	// What was being done stays; the words of gRPC around the message go.
	text := rpctext.Plain(strings.Replace(err.Error(), call.Error(), s.Message(), 1))
	var b strings.Builder
	fields := violations(s)
	if len(fields) > 0 {
		text, _, _ = strings.Cut(text, ":")
		text += ":"
	}
	b.WriteString(text)
	for _, f := range fields {
		fmt.Fprintf(&b, "\n  %s: %s", f.GetField(), f.GetDescription())
	}
	switch s.Code() {
	case codes.Unavailable:
		b.WriteString("\nIs the control plane running (`weft up`), and is --gateway right?")
	case codes.Unauthenticated:
		b.WriteString("\nGive a token with --token-file or WEFT_TOKEN, or an SVID with --cert and --key; `weft up` writes an administrator's token to <data-dir>/admin.token.")
	}
	return b.String()
}

func violations(s *status.Status) []*errdetails.BadRequest_FieldViolation {
	for _, d := range s.Details() {
		if bad, ok := d.(*errdetails.BadRequest); ok {
			return bad.GetFieldViolations()
		}
	}
	return nil
}
