// Package gateway is the door for people and programs.
//
// In come gRPC calls and REST requests with a credential; out go calls to the services that own what was asked for. There is one
// way through: a REST request becomes a call to the gateway's own gRPC server, in memory; that server (admit, in call.go)
//
//	enter -> identify -> permit -> repeat? -> carry out -> audit
//	limit    credential  access    repeat                  audit      (packages below this one)
//
// and then either answers itself (AdminService: what joins the answers of several services) or passes the call on as raw bytes,
// with the caller's name and namespaces, to the service that owns the method. Which methods are offered, and which role each
// needs where, is listed in methods.go; everything else is refused.
//
// It must never hold state that another replica lacks (the audit log and answers to idempotency keys lie in the store), bypass a
// service's own validation, or change anything for a caller whose credential it has not had confirmed within the last five
// seconds. Only the trust bundle is public.
//
// JSON of the REST API has lowerCamelCase names, as protobuf's JSON mapping has by default; unknown fields are refused. A
// stream is newline-delimited JSON, each line {"result": …} or, last, {"error": …}. Failures are RFC 9457 problems.
package gateway
