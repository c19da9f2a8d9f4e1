package identity

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
)

// Secrets are 256 random bits. Their SHA-256 is all that is stored, so that who reads the store or a backup of it can redeem
// nothing. A slow, salted hash as for passwords would add nothing: 2^256 guesses cannot be tried, no two secrets are alike,
// and authentication stays cheap.
const secretBytes = 32

// newSecret makes a secret and an identifier that is not secret.
func newSecret() (id, secret string, err error) {
	raw := make([]byte, secretBytes+8)
	if _, err := rand.Read(raw); err != nil {
		return "", "", fmt.Errorf("make secret: %w", err)
	}
	return hex.EncodeToString(raw[secretBytes:]), base64.RawURLEncoding.EncodeToString(raw[:secretBytes]), nil
}

func hashSecret(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

// isSecret compares in constant time, so that how long a refusal takes tells nothing.
func isSecret(hash []byte, secret string) bool {
	return subtle.ConstantTimeCompare(hash, hashSecret(secret)) == 1
}
