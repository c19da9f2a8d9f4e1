// Package credentialtest is an OIDC issuer for tests: on loopback, with real discovery, keys and signatures.
package credentialtest
