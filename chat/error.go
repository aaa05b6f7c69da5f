package chat

import (
	"errors"
	"fmt"
)

// Code is a class of error that a caller can branch on, also across the wire.
type Code string

// The codes. Each error told to a person has exactly one.
const (
	CodeInvalid     Code = "invalid"     // what was entered cannot be used
	CodeNotFound    Code = "not_found"   // no such room, message or member
	CodeAmbiguous   Code = "ambiguous"   // a name stands for several
	CodeConflict    Code = "conflict"    // a client id was used with another text
	CodeExpired     Code = "expired"     // an invite ran out or was revoked
	CodeForbidden   Code = "forbidden"   // not a member, or removed
	CodeUnreachable Code = "unreachable" // nobody answers, or no node runs here
	CodeDisk        Code = "disk"        // the disk does not take writes
	CodeBusy        Code = "busy"        // a limit is reached; later is fine
	CodeLater       Code = "later"       // this version cannot do it
	CodeInternal    Code = "internal"    // our own mistake
)

// Error is an error in words for people: what happened, and what to do.
type Error struct {
	Code    Code
	Message string // one sentence
	Hint    string // what to do, or ""
	Err     error  // the cause, for the log; may be nil
}

func (e *Error) Error() string {
	if e.Err != nil {
		return e.Message + ": " + e.Err.Error()
	}
	return e.Message
}

func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an Error without a hint.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// WithHint returns a copy of e that says what to do.
func (e *Error) WithHint(format string, args ...any) *Error {
	c := *e
	c.Hint = fmt.Sprintf(format, args...)
	return &c
}

// CodeOf returns the code of the first Error in err's chain, CodeInternal when
// there is none, and "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeInternal
}
