package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/weft-mesh/weft/gen/openapi"
	adminrest "github.com/weft-mesh/weft/gen/rest/weft/admin/v1alpha1"
	configrest "github.com/weft-mesh/weft/gen/rest/weft/config/v1alpha1"
	discoveryrest "github.com/weft-mesh/weft/gen/rest/weft/discovery/v1alpha1"
	identityrest "github.com/weft-mesh/weft/gen/rest/weft/identity/v1alpha1"
	policyrest "github.com/weft-mesh/weft/gen/rest/weft/policy/v1alpha1"
	telemetryrest "github.com/weft-mesh/weft/gen/rest/weft/telemetry/v1alpha1"
)

// newHandler makes the REST API out of a connection to the gateway's own gRPC server. Bodies are maxBody bytes at most.
func newHandler(ctx context.Context, conn *grpc.ClientConn, maxBody int) (http.Handler, error) {
	api := runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, &runtime.JSONPb{
			// Fields that are zero are there, so that programs find them; messages that are absent are not.
			MarshalOptions: protojson.MarshalOptions{EmitDefaultValues: true},
			// A field that is not known is refused: it was meant to do something.
			UnmarshalOptions: protojson.UnmarshalOptions{DiscardUnknown: false},
		}),
		runtime.WithErrorHandler(handleError),
		runtime.WithRoutingErrorHandler(handleRouting),
		// A body is always JSON, also when a client (curl -d) calls it a form; and a POST is never taken for a GET.
		runtime.WithDisablePathLengthFallback(),
		runtime.WithDisableHTTPMethodOverride(),
		// How the answer came through gRPC is nobody's business.
		runtime.WithOutgoingHeaderMatcher(func(string) (string, bool) { return "", false }),
		runtime.WithIncomingHeaderMatcher(passedHeader),
		runtime.WithMetadata(restOrigin),
	)
	for _, register := range []func(context.Context, *runtime.ServeMux, *grpc.ClientConn) error{
		adminrest.RegisterAdminServiceHandler, discoveryrest.RegisterDiscoveryServiceHandler,
		identityrest.RegisterIdentityServiceHandler, policyrest.RegisterPolicyServiceHandler,
		telemetryrest.RegisterTelemetryServiceHandler, configrest.RegisterConvergenceServiceHandler,
	} {
		if err := register(ctx, api, conn); err != nil {
			return nil, fmt.Errorf("register REST routes: %w", err)
		}
	}
	document, err := describe(openapi.Document())
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(document) // a client that is gone cannot be told so
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		id := orNewID(r.Header.Values(requestID))
		r.Header.Set(requestID, id)
		w.Header().Set(requestID, id)
		if r.ContentLength > int64(maxBody) {
			write(w, tooLarge(r, maxBody))
			return
		}
		body := &limitedBody{ReadCloser: http.MaxBytesReader(w, r.Body, int64(maxBody)), limit: maxBody}
		r.Body = body
		api.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), bodyKey{}, body)))
	})
	return mux, nil
}

// newHTTPServer serves the REST API. There is no write timeout: watches are streams without an end. What callers do wrong on
// a connection (plain HTTP to a TLS port, say) is worth no more than a debug line.
func newHTTPServer(handler http.Handler, log *zap.Logger) (*http.Server, error) {
	complaints, err := zap.NewStdLogAt(log.Named("rest"), zap.DebugLevel)
	if err != nil {
		return nil, fmt.Errorf("make the REST server's log: %w", err)
	}
	return &http.Server{
		ErrorLog: complaints,
		Handler:  handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10,
	}, nil
}

// describe adds to the generated document what no proto says: what the API is called and how callers authenticate.
func describe(generated []byte) ([]byte, error) {
	var doc map[string]any
	if err := json.Unmarshal(generated, &doc); err != nil {
		return nil, fmt.Errorf("decode the generated OpenAPI document: %w", err)
	}
	doc["info"] = map[string]any{
		"title": "Weft", "version": "v1alpha1",
		"description": "The control plane of a Weft mesh. Failures are RFC 9457 problems. Streams are newline-delimited JSON.",
	}
	doc["securityDefinitions"] = map[string]any{"token": map[string]any{
		"type": "apiKey", "in": "header", "name": "Authorization",
		"description": "\"Bearer\" and a token of this mesh or of its OIDC issuer; a client certificate with an SVID does too",
	}}
	doc["security"] = []any{map[string]any{"token": []any{}}}
	out, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode the OpenAPI document: %w", err)
	}
	return out, nil
}

// failEarly is for the connection to the gateway's own server: a stream that is refused before its first message reports so
// when its headers are asked for, and becomes a problem with its own HTTP status instead of a line of a stream with 200.
func failEarly(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	stream, err := open(ctx, desc, conn, method, opts...)
	if err != nil {
		return nil, err
	}
	return &earlyStream{stream}, nil
}

type earlyStream struct {
	grpc.ClientStream
}

// Header returns the headers, or the status of a stream that ended without any.
func (s *earlyStream) Header() (metadata.MD, error) {
	header, err := s.ClientStream.Header()
	if err != nil || header != nil {
		return header, err
	}
	if err := s.RecvMsg(&emptypb.Empty{}); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return nil, nil
}
