package ui

import (
	"time"

	"tertulia/node/invite"
)

// someInvite is a link to a room named Book circle.
func someInvite(expires time.Time) string {
	return invite.Link{Name: "Book circle", Expires: expires}.String()
}
