// Package manifest reads and writes objects in the form that people use: YAML or JSON documents of apiVersion
// weft.dev/v1alpha1.
//
// In comes text; out come messages, exactly as if a client had made them. Reading is strict: an unknown kind, an unknown field,
// a value of the wrong type, a number out of range or an empty value is an Invalid fault that names the document, the object
// and the field, and says what is allowed. Nothing is ever guessed or dropped, because a dropped condition of an access policy
// would let more pass than its author wrote. Rules beyond types are the model's.
//
// Enum values are written in short lower-case form (mtls: strict), durations as "5s". Package manifest must never do I/O.
package manifest
