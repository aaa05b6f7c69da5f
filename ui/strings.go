package ui

import (
	"strconv"
	"time"

	"tertulia/chat"
)

// The English text is both what is shown and the key under which
// translations/LANGUAGE.json holds another language. Plural forms are in the
// file of every language, English included.
const (
	textAppName = "Tertulia"

	textWelcome      = "Welcome to Tertulia"
	textWelcomeAbout = "Conversations that live on the computers of those who take part. There is no server and no account."
	textYourName     = "Your name"
	textNameHint     = "How the others will see you"
	textContinue     = "Continue"
	textGreeting     = "Hello, {{.Name}}"
	textFirstRoom    = "Start a conversation and invite others, or join one with an invite that somebody sent you."

	textNewRoom       = "New conversation"
	textStartRoom     = "Start a conversation"
	textRoomName      = "Name of the conversation"
	textRoomNameHint  = "Friday evening"
	textStart         = "Start"
	textJoinRoom      = "Join with an invite"
	textJoin          = "Join"
	textInvite        = "Invite"
	textInviteHint    = "tertulia:…"
	textInviteAbout   = "Send this link to those who should take part. Whoever has it can join."
	textCopy          = "Copy"
	textCopyLink      = "Copy link"
	textCopied        = "Copied."
	textClose         = "Close"
	textCancel        = "Cancel"
	textOrderLabel    = "Order of messages"
	textOrderLamport  = "No leader"
	textOrderLeader   = "Elected leader"
	textLamportAbout  = "Every member has the same say: a message becomes final when all of them have been heard, so that one who is away makes it wait."
	textLeaderAbout   = "One member, elected by the others, gives each message its place: final as soon as most of those who vote have stored it, whoever else is away."
	textAbout         = "About this conversation"
	textMessagesHeld  = "Messages"
	textMessagesFinal = "{{.Total}}, of these {{.Final}} final"
	textLeave         = "Leave the conversation"
	textLeaveSure     = "You will no longer receive messages of “{{.Room}}”. What you have stays on this computer."
	textLeaveConfirm  = "Leave"
	textMembers       = "Members"
	textMemberYou     = "this computer"
	textMemberCreator = "started the conversation"

	textInviteTo       = "Invite to “{{.Room}}”"
	textInviteEnds     = "How long it is valid"
	textInviteUses     = "How often it can be used"
	textInviteLink     = "Invite link"
	textHour           = "1 hour"
	textOneDay         = "1 day"
	textWeek           = "1 week"
	textAlways         = "Always"
	textOnce           = "Once"
	textTenTimes       = "10 times"
	textAnyTimes       = "Any number"
	textNoPicture      = "This link is too long for a picture. Copy it instead."
	textInviteGood     = "An invite to “{{.Room}}”."
	textInviteUntil    = "An invite to “{{.Room}}”, valid until {{.When}}."
	textInviteOver     = "The invite to “{{.Room}}” has not been valid since {{.When}}."
	textInviteWrong    = "Not a whole invite. Copy all of it, from “tertulia:” on."
	textNearby         = "On this network"
	textNoneNearby     = "Nobody on this network offers a conversation just now. When somebody does, it appears here."
	textOfferedBy      = "Offered by {{.Name}}"
	textOffer          = "Offer on this network"
	textOfferAbout     = "Whoever is on the same network then sees the conversation and can join without an invite."
	textTellRead       = "Tell others how far I have read"
	textNotify         = "Tell me of"
	textNotifyAll      = "All messages"
	textNotifyMentions = "Mentions"
	textNotifyNone     = "Nothing"
	textMenuAll        = "Tell me of all messages"
	textMenuMentions   = "Tell me of mentions only"
	textMenuMute       = "Mute"
	textRename         = "Rename…"
	textRenameTitle    = "Rename the conversation"
	textRenameDo       = "Rename"
	textRenameAbout    = "Everybody in the conversation sees the new name."
	textSwitch         = "Switch…"
	textSwitchTitle    = "Switch the order of messages"
	textSwitchTo       = "Switch to “{{.Order}}”"
	textSwitchNow      = "Now"
	textSwitchThen     = "Then"
	textSwitchAbout    = "What is final stays where it is. What is not final yet is not lost: it becomes final with the switch or soon after, and may still change its place until then. The switch waits until most of those who vote are reachable; meanwhile everything goes on as now."
	textOnlyCreator    = "Only {{.Name}}, where the conversation was started, can change its name and its order."
	textMembersAbout   = "Read the fingerprints to each other to be sure who is who. Whoever takes another’s name has another fingerprint."
	textPresent        = "connected"
	textSuspected      = "does not answer"
	textAbsent         = "not connected"
	textRemove         = "Remove"
	textRemoveTitle    = "Remove {{.Name}}"
	textRemoveSure     = "{{.Name}} will no longer be able to write in “{{.Room}}” or to read what comes from now on, and cannot join again with the same key. What came before stays there."
	textLeaveRuler     = "You started it: once you are gone, nobody can rename it, switch its order or remove members."
	textAlone          = "Nobody else is here yet. Invite others, or offer the conversation on this network."
	textTypingOne      = "{{.Name}} is writing…"
	textTypingTwo      = "{{.Name}} and {{.Other}} are writing…"

	textRooms       = "Conversations"
	textNoRoomsYet  = "No conversation yet"
	textNoMessages  = "No messages yet. Say something."
	textWrite       = "Write a message"
	textNewMessages = "Newest messages"
	textNewLine     = "New"
	textSearch      = "Search"
	textSearchHint  = "Search in this conversation"
	textSwitchHint  = "Go to a conversation"
	textNothing     = "Nothing found."
	textReply       = "Reply"
	textReplyTo     = "Reply to {{.Name}}"
	textYou         = "You"

	textOnline      = "{{.Count}} online"
	textFetching    = "Fetching history {{.Have}} of {{.Want}}"
	textJoining     = "Joining"
	textJoinFailed  = "Could not join"
	textConnecting  = "Starting…"
	textDiskTrouble = "The disk does not take writes. Free some space; nothing sent so far is lost."

	textTipSaved     = "Saved on this computer; its place is not final yet"
	textTipTentative = "Its place is not final yet"
	textTipFinal     = "Final at position {{.Index}}"
	textTipLate      = "came late, below words written after it"
	textTipReceived  = "received by {{.Have}} of {{.All}}"
	textTipRead      = "read by {{.Names}}"
	textLate         = "late"
	textNotHere      = "This message is not here."

	textWhy          = "Why is it here?"
	textWhyFinal     = "It stands at position {{.Index}} for good, the same for everybody."
	textWhyTentative = "It stands where it would if nothing else came. Its place becomes final when the others have been heard."
	textWhyElected   = "It stands where it would if nothing else came. Its place becomes final when the elected leader has given it one."
	textWhyLed       = "{{.Leader}}, elected to lead, gave it this place."
	textWhyOwn       = "The place follows from the clocks of the messages, and no single member chose it."
	textWhyLate      = "It came late: words written after it were final already, and what is final never moves. So it was added below them."
	textWhyAuthor    = "Written by"
	textWhyKey       = "Author’s key"
	textWhyOrigin    = "On the computer"
	textWhyWritten   = "Written at"
	textWhyArrived   = "Arrived here"
	textWhyArrival   = "as number {{.Number}} of this conversation"
	textWhyClock     = "Logical clock"
	textWhyState     = "State"
	textWhyIsFinal   = "final"
	textWhyIsTail    = "not final yet"
	textWhyPosition  = "Position"
	textWhyEpoch     = "Epoch"
	textWhyLeader    = "Leader"
	textWhyHash      = "Hash of the order up to here"
	textWhyAnswers   = "Answers"

	textWaitingNobody = "Waiting for {{.Names}}: nobody else of this conversation can be reached. Your messages are saved and go out when someone can."
	textOnlyOne       = "You are the only one here. Invite somebody."
	textNoMember      = "This device is no longer a member."
	textNobody        = "Nobody can be reached. Your messages are saved and go out when someone can. Check that this computer is on a network."
	textNotConnected  = "Not connected with anybody yet. Invite somebody, or paste an invite."
	textLastName      = "{{.Names}} and {{.Last}}"
	textMoreNames     = "{{.Names}} and {{.Count}} more"

	textWhyFingerprint = "Key of the computer"
	textWhySignature   = "Signature"
	textWhySigned      = "covers it, checked here"
	textWhyUnsigned    = "not checked"
	textWhyLateness    = "Late"
	textWhyInTime      = "no"
	textWhyIsLate      = "yes: words written after it were final before it came"
	textWhySeq         = "Sequence"
	textWhySeqOf       = "number {{.Number}} of {{.Node}}"
	textWhyTerm        = "Term"
	textWhyParents     = "Its author had seen"
	textWhyHolders     = "Stored by"
	textWhyMissing     = "Not yet by"
	textWhyReaders     = "Read by"
	textWhyUnread      = "nobody, as far as they said"
	textSomeOfAll      = "{{.Some}} of {{.All}}"

	textNetwork        = "Network"
	textNobodyElse     = "You are the only one here."
	textInviteSomebody = "Invite somebody; until then messages are kept on this computer alone."
	textBothConnected  = "Both of you are connected."
	textAllConnected   = "All {{.Count}} of you are connected."
	textSomeConnected  = "{{.Some}} of {{.All}} are connected."
	textNoneConnected  = "Nobody else can be reached."
	textFinalAtOnce    = "Messages become final at once."
	textElecting       = "No leader just now: one is being elected. Messages are saved and shown, and become final after that."
	textStopped        = "Nothing becomes final here meanwhile."
	textSameOn         = "same on {{.Some}} of {{.All}}"
	textDiffersFrom    = "The order differs from position {{.Index}} on."
	textDiffersAt      = "The order differs at position {{.Index}}, or before it already."
	textDiffersOn      = "Another one is on {{.Names}}."
	textVerify         = "Run “tertulia verify” on these computers and compare what it says."
	textNothingHeld    = "Nothing: every message is final."
	textDirect         = "direct"
	textDirectIn       = "direct, {{.Time}}"
	textRelayed        = "through a relay"
	textRelayedIn      = "through a relay, {{.Time}}"
	textSilent         = "does not answer"
	textGone           = "away"
	textNeverMet       = "not met yet"
	textListSame       = "same"
	textListBehind     = "behind"
	textListAhead      = "ahead"
	textListApart      = "differs"
	textNobodyLeads    = "Nobody: every member has the same say."
	textLeads          = "{{.Leader}} leads, term {{.Term}}"
	textNoLeaderNow    = "No leader for now, term {{.Term}}"
	textCoordinates    = "{{.Leader}} looks after the epochs, term {{.Term}}"
	textNoCoordinator  = "Nobody looks after the epochs for now, term {{.Term}}"
	textTurnEpoch      = "Epoch {{.Epoch}}: {{.Order}}"
	textTurnWith       = "with {{.Names}}"
	textEveryOrder     = "The order here and elsewhere"
	textFinalList      = "Final list"
	textFinalUpTo      = "up to position {{.Index}}, hash {{.Hash}}"
	textHeldBack       = "Held back"
	textSince          = "Elections and epochs"
	textNoTurns        = "None since this computer started."
	textMember         = "Member"
	textConnection     = "Connection"
	textClock          = "Clock"
	textFinalColumn    = "Final"
	textOrderColumn    = "Order"
	textMoreMembers    = "The list below has all {{.Count}} members."
	textNotKnownYet    = "Asking the node…"

	textUnequal          = "The members do not have the same order, which should never be."
	textSettings         = "Settings"
	textLanguage         = "Language"
	textAsSystem         = "As the system"
	textEnglish          = "English"
	textPortuguese       = "Português (Brasil)"
	textLook             = "Appearance"
	textLight            = "Light"
	textDark             = "Dark"
	textTextSize         = "Text size"
	textSmall            = "Small"
	textNormal           = "Normal"
	textLarge            = "Large"
	textLargest          = "Largest"
	textAccent           = "Colour"
	textTeal             = "Teal"
	textBlue             = "Blue"
	textViolet           = "Violet"
	textRose             = "Rose"
	textAmber            = "Amber"
	textAlert            = "Notifications"
	textAlertAll         = "All messages"
	textAlertMentions    = "Mentions and replies"
	textAlertNone        = "Nothing"
	textAlertAbout       = "A conversation can be quieter than this, not louder."
	textTray             = "When closed"
	textTrayKeep         = "Stay in the tray"
	textTrayQuit         = "End the program"
	textTrayMissing      = "This desktop has no tray: closing the window ends the program."
	textAboutProgram     = "About Tertulia"
	textAboutWords       = "Group chat without a server. Every node keeps the whole conversation, and all show it in the same order."
	textVersion          = "Version"
	textBuiltWith        = "Built with"
	textNode             = "Node"
	textDirectory        = "Data directory"
	textCopyDiagnostics  = "Copy diagnostics"
	textDiagnosticsAbout = "The diagnostics have figures alone: no message, name, key, address or invite."
	textOpen             = "Open"
	textQuit             = "Quit"
	textBack             = "Back to the conversations"
	textMore             = "More"
	textSend             = "Send"
	textCancelReply      = "Do not reply"

	textUnreadable  = "Not readable yet: its key has not arrived."
	textUnknown     = "Needs a newer version."
	textJoinedRoom  = "{{.Name}} joined"
	textLeftRoom    = "{{.Name}} left"
	textRenamedSelf = "{{.Name}} took this name"
	textOrderingSet = "The order of messages was switched"
	textShowAll     = "Show the whole message ({{.Size}})"
	textFold        = "Show less"
	textSelect      = "Select text…"
	textSelectPart  = "Only the beginning is shown here. Copy takes the whole message."
	textLinkFailed  = "This link could not be opened."
	textGoToDay     = "Go to a day"
	textMessage     = "Message"

	textToday     = "Today"
	textYesterday = "Yesterday"
	textDay       = "{{.Weekday}}, {{.Day}} {{.Month}}"
	textDayOfYear = "{{.Weekday}}, {{.Day}} {{.Month}} {{.Year}}"
	textThousands = ","

	textTooLong     = "This message is too long."
	textTooLongHint = "Up to {{.Size}} fit in one message. Split it in two."
	textBusy        = "Too many things are under way."
	textBusyHint    = "Wait a moment, then try again."
	textFailed      = "That did not work."
	textFailedHint  = "The log says more."
	textNameNeeded  = "Enter a name of 1 to {{.Max}} characters."
)

// Keys of texts with plural forms; the fallbacks serve when no language file
// has them.
const (
	pluralMembers               = "members"
	pluralMembersFallback       = "{{.Count}} members"
	pluralWaitingAnswer         = "waiting for an answer"
	pluralWaitingAnswerFallback = "Nothing becomes final until {{.Names}} have answered."
	pluralWaitingReach          = "waiting for a connection"
	pluralWaitingReachFallback  = "Nothing becomes final until {{.Names}} can be reached again."
	pluralForked                = "members that forked"
	pluralForkedFallback        = "More than one computer writes as {{.Names}}."
	pluralAway                  = "members away"
	pluralAwayFallback          = "{{.Names}} cannot be reached now."
	pluralConnected             = "connected members"
	pluralConnectedFallback     = "Connected with {{.Count}} other members."
	pluralWhyMissing            = "not yet stored by"
	pluralWhyMissingFallback    = "{{.Names}} have not stored it yet."
	pluralUncompared            = "replicas not compared"
	pluralUncomparedFallback    = "{{.Count}} cannot be compared yet"
	pluralHeld                  = "messages held back"
	pluralHeldFallback          = "{{.Count}} messages are not final yet."
	pluralHeldFor               = "messages held back for"
	pluralHeldForFallback       = "{{.Count}} messages are not final yet: they wait for {{.Names}}."
	pluralParked                = "entries held back"
	pluralParkedFallback        = "{{.Count}} more wait for what they build on."
	pluralDiffer                = "replicas that differ"
	pluralDifferFallback        = "{{.Count}} differ"
	pluralNew                   = "new messages"
	pluralNewFallback           = "{{.Count}} new"
	pluralTyping                = "people writing"
	pluralTypingFallback        = "{{.Count}} people are writing…"
	pluralMerge                 = "merged messages"
	pluralMergeFallback         = "Two parts talked separately {{.From}}–{{.To}}; {{.Count}} messages were added below"
	pluralLeft                  = "bytes left"
	pluralLeftFallback          = "{{.Count}} bytes left"
)

func textOfMembers(n int) string {
	return plural(pluralMembers, pluralMembersFallback, n, args{"Count": count(uint64(n))})
}

func textOfNew(n int) string {
	return plural(pluralNew, pluralNewFallback, n, args{"Count": count(uint64(n))})
}

func textOfTyping(n int) string {
	return plural(pluralTyping, pluralTypingFallback, n, args{"Count": count(uint64(n))})
}

func textOfLeft(bytes int) string {
	return plural(pluralLeft, pluralLeftFallback, bytes, args{"Count": count(uint64(bytes))})
}

// textOfMerge tells of a separation that ended, with days where they are not the
// one under which it is told.
func textOfMerge(m *chat.Merge, day string, now time.Time) string {
	from, to := m.From.Local(), m.To.Local()
	begin, end := textOfClock(from), textOfClock(to)
	if dayOf(from) != day {
		begin = textOfDay(from, now) + ", " + begin
	}
	if dayOf(to) != dayOf(from) {
		end = textOfDay(to, now) + ", " + end
	}
	return plural(pluralMerge, pluralMergeFallback, m.Count, args{"From": begin, "To": end, "Count": count(uint64(max(m.Count, 0)))})
}

// count writes n with a mark between thousands.
func count(n uint64) string {
	s := strconv.FormatUint(n, 10)
	if len(s) <= 3 {
		return s
	}
	mark := tr(textThousands)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + mark + s[i:]
	}
	return s
}

func textOfSize(bytes int) string { return count(uint64((bytes+1023)/1024)) + " KB" }

func textOfClock(t time.Time) string { return t.Format("15:04") }

// textOfDay names the day of t as seen from now.
func textOfDay(t, now time.Time) string {
	switch dayOf(t) {
	case dayOf(now):
		return tr(textToday)
	case dayOf(now.AddDate(0, 0, -1)):
		return tr(textYesterday)
	}
	return textOfDate(t, now)
}

// textOfTime is a moment to be kept or missed: the clock today, else with its day.
func textOfTime(t, now time.Time) string {
	if dayOf(t) == dayOf(now) {
		return textOfClock(t.Local())
	}
	return textOfDate(t.Local(), now) + ", " + textOfClock(t.Local())
}

func textOfDate(t, now time.Time) string {
	parts := args{"Weekday": tr(t.Weekday().String()), "Day": t.Day(), "Month": tr(t.Month().String()), "Year": t.Year()}
	if t.Year() != now.Year() {
		return tr(textDayOfYear, parts)
	}
	return tr(textDay, parts)
}

// textOfMoment is short: the clock today, the weekday within a week, else the date.
func textOfMoment(t, now time.Time) string {
	switch {
	case t.IsZero():
		return ""
	case dayOf(t) == dayOf(now):
		return textOfClock(t)
	case t.After(now.AddDate(0, 0, -6)) && t.Before(now):
		return string([]rune(tr(t.Weekday().String()))[:3])
	}
	return t.Format("02/01/06")
}

// dayOf is the local calendar day of t, as a key that sorts.
func dayOf(t time.Time) string { return t.Local().Format("2006-01-02") }
