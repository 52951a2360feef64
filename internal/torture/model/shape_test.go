package model

import (
	"slices"
	"time"

	"pgregory.net/rapid"

	"ingestd/internal/senders"
)

// Times of every history. The vendors' contract: what a lost request caused
// shows within doubtSettle.
const (
	doubtSettle = 2 * time.Minute
	listingLag  = 40 * time.Second // until a listing shows what is there
	lateEffect  = 50 * time.Second // a gateway's 504 whose upstream goes on working
	quiet       = 5 * time.Second
	scanEvery   = 20 * time.Second
	sidecarWait = 90 * time.Second
)

// shape is a kind of vendor.
type shape struct {
	name    string
	traits  senders.Traits
	asks    bool // can be asked about a doubt
	once    bool // publishes a key once, whatever is uploaded
	onDoubt string
	// resend are the classes of event by which a second tail may be released
	// while the first is unresolved, beside a person's order.
	resend []string
}

// single tells that the vendor must never hold a key twice.
func (s shape) single() bool { return s.onDoubt != senders.OnDoubtResend }

// shapes are the vendors a history may have.
func shapes() []shape {
	return []shape{
		// CallMiner: a reused correlation id fails to publish, later.
		{name: "miner", traits: senders.Traits{TwoStep: true, ResendSafe: true}, once: true, onDoubt: senders.OnDoubtAuto, resend: []string{"resend_safe"}},
		// One request, a listing afterwards.
		{name: "asked", asks: true, onDoubt: senders.OnDoubtAuto, resend: []string{"absent"}},
		// One request, no way to ask.
		{name: "mute", onDoubt: senders.OnDoubtAuto},
		// The same, and the operator prefers two to none.
		{name: "again", onDoubt: senders.OnDoubtResend, resend: []string{"resend_ordered"}},
		// A declared id that is used again, whose state can be asked.
		{name: "reuse", traits: senders.Traits{TwoStep: true, ReuseDeclared: true}, asks: true, onDoubt: senders.OnDoubtAuto, resend: []string{"absent"}},
		// The same, and a second declare would be a second conversation.
		{name: "declareonce", traits: senders.Traits{TwoStep: true, ReuseDeclared: true, DeclareOnce: true}, asks: true, onDoubt: senders.OnDoubtAuto, resend: []string{"absent"}},
	}
}

// fault is what goes wrong with one attempt.
type fault string

const (
	fine         fault = "fine"
	slow         fault = "slow"
	unreachable  fault = "unreachable"
	declare429   fault = "declare 429"
	declare401   fault = "declare 401"
	declare500   fault = "declare 500"
	declare400   fault = "declare 400"
	declareLost  fault = "declare lost"           // it had an effect
	declareGone  fault = "declare lost, no trace" // it had none
	media429     fault = "media 429 early"
	media401     fault = "media 401 early"
	media500     fault = "media 500 early"
	media413     fault = "media 413 early"
	mediaCut     fault = "media cut"
	rewritten    fault = "file rewritten meanwhile"
	tail429      fault = "429 after the tail"
	tail401      fault = "401 after the tail"
	tail404      fault = "404 after the tail"
	tail422      fault = "422 after the tail"
	tailHeld     fault = "strange answer after the tail"
	lostEffect   fault = "answer lost"
	lostNothing  fault = "answer lost, no effect"
	lostLate     fault = "answer lost, late effect"
	error5xx     fault = "5xx, effect"
	error5xxNone fault = "5xx, no effect"
	error504     fault = "504, late effect"
	panicEarly   fault = "panic before the gate"
	panicLate    fault = "panic after the gate, effect"
)

// faults are weighted by repetition; the first is what rapid shrinks to.
func faults() []fault {
	return []fault{
		fine, fine, fine, fine, fine, fine, slow, slow, unreachable,
		declare429, declare401, declare500, declare400, declareLost, declareGone,
		media429, media401, media500, media413, mediaCut, mediaCut, rewritten,
		tail429, tail401, tail404, tail422, tailHeld,
		lostEffect, lostEffect, lostNothing, lostNothing, lostLate, lostLate,
		error5xx, error5xxNone, error504, error504, panicEarly, panicLate,
	}
}

// point is a step of an attempt at which the program may be killed.
type point string

const (
	nowhere         point = ""
	beforeDeclaring point = "before declaring"
	afterDeclaring  point = "declaring is durable"
	afterDeclare    point = "the vendor has declared"
	afterDeclared   point = "declared is durable"
	afterSending    point = "sending is durable"
	inMedia         point = "in the media"
	atGate          point = "at the gate"
	afterCommitting point = "committing is durable"
	inTail          point = "the tail left, the vendor has nothing"
	afterTail       point = "the vendor has it"
)

func points() []point {
	none := make([]point, 30)
	return slices.Concat(none, []point{
		beforeDeclaring, afterDeclaring, afterDeclare, afterDeclared, afterSending, inMedia, atGate,
		afterCommitting, afterCommitting, inTail, afterTail, afterTail,
	})
}

// script is one attempt as it will go.
type script struct {
	fault fault
	die   point
	apart bool // declared and sending are two commits
	delay time.Duration
}

// answer is how a vendor answers one question about a doubt.
type answer string

const (
	truth   answer = "truth"
	unknown answer = "unknown"
	failing answer = "error"
)

// part is everything the vendor of one destination does with one identity.
type part struct {
	attempts []script
	answers  []answer
}

func drawPart(rt *rapid.T) part {
	one := rapid.Custom(func(rt *rapid.T) script {
		return script{
			fault: rapid.SampledFrom(faults()).Draw(rt, "fault"),
			die:   rapid.SampledFrom(points()).Draw(rt, "die"),
			apart: rapid.Bool().Draw(rt, "apart"),
			delay: time.Duration(rapid.IntRange(0, 40).Draw(rt, "delay")) * time.Second,
		}
	})
	return part{
		attempts: rapid.SliceOfN(one, 0, 4).Draw(rt, "attempts"),
		answers:  rapid.SliceOfN(rapid.SampledFrom([]answer{truth, unknown, failing}), 0, 3).Draw(rt, "answers"),
	}
}
