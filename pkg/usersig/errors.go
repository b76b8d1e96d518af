package usersig

import "errors"

// Verify returns one of these, wrapped with what is wrong. The numbers are the contract's codes for them.
var (
	// ErrMalformed (70003): it is not a UserSig at all, whoever signed it.
	ErrMalformed = errors.New("the UserSig is malformed")
	// ErrApp (70014): it is for another app than the one called.
	ErrApp = errors.New("the UserSig is of another sdkappid")
	// ErrIdentifier (70013): it is for another identifier than the caller's.
	ErrIdentifier = errors.New("the UserSig is of another identifier")
	// ErrSignature (70009): none of the app's keys signed it.
	ErrSignature = errors.New("the signature of the UserSig does not verify")
	// ErrExpired (70001): it is genuine, and its time is over.
	ErrExpired = errors.New("the UserSig has expired")
)
