package h2_test

import (
	"testing"

	testgrpc "google.golang.org/grpc/interop/grpc_testing"
)

// BenchmarkUnary is a gRPC call through a pair of sidecars, 32 at a time over one connection; client and app are in it too.
func BenchmarkUnary(b *testing.B) {
	for name, option := range map[string]meshOption{"plain": func(*mesh) {}, "mtls": withMTLS} {
		b.Run(name, func(b *testing.B) {
			_, addr := startApp(b, "one")
			client := dialGRPC(b, newMesh(b, []string{addr}, option).addr)
			req := &testgrpc.SimpleRequest{Payload: payload(100)}
			b.SetParallelism(16)
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := client.UnaryCall(b.Context(), req); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
