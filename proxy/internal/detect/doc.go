// Package detect is the stage that tells the protocol of a port that did not declare one, from the first bytes that its
// client sends.
//
// In come those bytes; out goes a verdict, or "not enough yet". Because a server may speak first, Race waits for either side
// of a connection that has been made already, so that no protocol stalls. A Port remembers its first verdict, and no later
// connection changes it: a port that flips its protocol would flip what is measured and allowed.
package detect
