package schema

import (
	"context"
	"errors"

	"connectrpc.com/connect"

	pb "tertulia/api/tertulia/v1"
	"tertulia/chat"
)

// Error returns err as the service sends it: a Connect error whose detail has
// the code, the message and the hint. The cause of a chat.Error, and the text
// of any other error, stay on the node.
func Error(err error) error {
	if err == nil {
		return nil
	}
	told, ok := errors.AsType[*chat.Error](err)
	if !ok {
		if errors.Is(err, context.Canceled) {
			return connect.NewError(connect.CodeCanceled, err)
		}
		if errors.Is(err, context.DeadlineExceeded) {
			return connect.NewError(connect.CodeDeadlineExceeded, err)
		}
		told = chat.Errorf(chat.CodeInternal, "The node could not do it.").WithHint("The node's log says why.")
	}
	sent := connect.NewError(connectCode(told.Code), errors.New(told.Message))
	detail, err := connect.NewErrorDetail(&pb.Error{Code: string(told.Code), Message: told.Message, Hint: told.Hint})
	if err == nil {
		sent.AddDetail(detail)
	}
	return sent
}

// ChatError is the inverse of Error: the chat.Error in err's detail, else the
// one in err's chain, else one with CodeUnreachable: an error that no node has
// signed comes from the way to it.
func ChatError(err error) error {
	if err == nil {
		return nil
	}
	if sent, ok := errors.AsType[*connect.Error](err); ok {
		for _, detail := range sent.Details() {
			value, err := detail.Value()
			if err != nil {
				continue
			}
			if told, ok := value.(*pb.Error); ok {
				return &chat.Error{Code: chat.Code(told.GetCode()), Message: told.GetMessage(), Hint: told.GetHint()}
			}
		}
	}
	if told, ok := errors.AsType[*chat.Error](err); ok {
		return told
	}
	if connect.CodeOf(err) == connect.CodeUnauthenticated {
		return &chat.Error{
			Code:    chat.CodeForbidden,
			Message: "The node wants a token.",
			Hint:    "Give the file that its --api-token-file names.",
			Err:     err,
		}
	}
	return &chat.Error{
		Code:    chat.CodeUnreachable,
		Message: "The node does not answer.",
		Hint:    "See whether it still runs: tertulia status",
		Err:     err,
	}
}

func connectCode(code chat.Code) connect.Code {
	switch code {
	case chat.CodeInvalid:
		return connect.CodeInvalidArgument
	case chat.CodeNotFound:
		return connect.CodeNotFound
	case chat.CodeAmbiguous, chat.CodeExpired:
		return connect.CodeFailedPrecondition
	case chat.CodeConflict:
		return connect.CodeAlreadyExists
	case chat.CodeForbidden:
		return connect.CodePermissionDenied
	case chat.CodeUnreachable:
		return connect.CodeUnavailable
	case chat.CodeDisk:
		return connect.CodeAborted
	case chat.CodeBusy:
		return connect.CodeResourceExhausted
	case chat.CodeLater:
		return connect.CodeUnimplemented
	case chat.CodeInternal:
		return connect.CodeInternal
	}
	return connect.CodeUnknown
}
