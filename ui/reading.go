package ui

import "tertulia/chat"

// reading knows of the open room what the person has read: everything that
// arrived here up to some message, whatever place it has.
type reading struct {
	upTo uint64 // arrival of the newest message read
	told mark   // what the node was last told

	line   bool   // the unread line is shown,
	lineID string // above this message while it is held, else
	lineAt uint64 // above the first message of another that arrived after this one
}

// mark is what the node is told, and what makes telling it again worth while.
type mark struct {
	room, position string
	arrival, final uint64 // the newest arrival, and the newest index
}

// open begins with a room of which these messages are held; unread is the ID of
// the first that is new, "" when none is.
func (r *reading) open(messages []chat.Message, unread string) {
	*r = reading{upTo: newestArrival(messages)}
	i := indexIn(messages, unread)
	if i < 0 {
		return
	}
	r.upTo = messages[i].Arrival - 1
	r.line, r.lineID, r.lineAt = true, unread, r.upTo
}

// miss notes what came while nobody looked. The line moves once there is
// something that was not there when the person last looked.
func (r *reading) miss(messages []chat.Message) {
	for i := range messages {
		if m := &messages[i]; m.Arrival > r.upTo && !m.Mine {
			if !r.line || r.lineAt != r.upTo {
				r.line, r.lineID, r.lineAt = true, "", r.upTo
			}
			return
		}
	}
}

// answer is for a person who said something: what is held has been read.
func (r *reading) answer(messages []chat.Message) {
	r.line, r.upTo = false, max(r.upTo, newestArrival(messages))
}

// firstUnread is the ID of the message above which the unread line stands, ""
// when there is no line. Below the first of all held messages nobody can tell.
func (r *reading) firstUnread(messages []chat.Message) string {
	if !r.line {
		return ""
	}
	if r.lineID != "" && indexIn(messages, r.lineID) >= 0 {
		return r.lineID
	}
	for i := range messages {
		if m := &messages[i]; m.Arrival > r.lineAt && !m.Mine {
			if i == 0 {
				return ""
			}
			return m.ID
		}
	}
	return ""
}

func newestArrival(messages []chat.Message) (newest uint64) {
	for i := range messages {
		newest = max(newest, messages[i].Arrival)
	}
	return newest
}

func finals(messages []chat.Message) (newest uint64) {
	for i := range messages {
		newest = max(newest, messages[i].Index)
	}
	return newest
}
