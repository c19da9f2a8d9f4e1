package identity

import (
	"crypto"
	"crypto/x509"

	"github.com/weft-mesh/weft/services/identity/ca"
	"github.com/weft-mesh/weft/services/internal/fault"
)

// csrKey takes the public key out of a CSR whose signature proves that the caller holds the private one. Names, SANs and
// extensions in it are not even looked at: a caller's identity never comes from what the caller writes.
func csrKey(der []byte) (crypto.PublicKey, error) {
	refuse := func(problem string) error {
		return fault.InvalidFields("request for an SVID", []fault.Field{{Path: "csr", Problem: problem}})
	}
	if len(der) == 0 {
		return nil, refuse("is missing; each request carries a PKCS#10 CSR in DER")
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, refuse("is not a PKCS#10 CSR in DER: " + err.Error())
	}
	// The key is judged first: a signature by an enormous key would cost much to check.
	if err := ca.CheckKey(csr.PublicKey); err != nil {
		return nil, refuse(err.Error())
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, refuse("is not signed by the key that it names: " + err.Error())
	}
	return csr.PublicKey, nil
}
