package ingest

import (
	"errors"

	"github.com/carillon-push/carillon/pkg/directory"
	"github.com/carillon-push/carillon/pkg/predicate"
	"github.com/carillon-push/carillon/pkg/usersig"
)

// Code is an ErrorCode of the contract.
type Code int

// The contract's codes, all that this package answers with.
const (
	codeOK Code = 0

	codeURL          Code = 60002 // the URL is not of the contract's form
	codeBodyAccounts Code = 60003 // the body is not JSON (the push commands say codeBodyPush)
	codeNoIdentifier Code = 60004
	codeNoUserSig    Code = 60005
	codeApp          Code = 60006
	codeFrequency    Code = 60007
	codeCommand      Code = 60009
	codeRights       Code = 60010 // not an admin (other families say codeRightsPush and codeRightsAccounts)
	codeNoApp        Code = 60012
	codeAccountType  Code = 60015

	codeExpired        Code = 70001
	codeMalformedSig   Code = 70003
	codeSignature      Code = 70009
	codeSigIdentifier  Code = 70013
	codeSigApp         Code = 70014
	codeFailures       Code = 70050
	codeNoSuchAccount  Code = 70107
	codeParameter      Code = 70402
	codeRightsAccounts Code = 70403
	codeInternal70     Code = 70500

	codeBodyPush      Code = 90001
	codeNoMsgBody     Code = 90002
	codeRandom        Code = 90005
	codeMsgBodyType   Code = 90007
	codeSender        Code = 90008
	codeRightsPush    Code = 90009
	codeElement       Code = 90010
	codeManyOnline    Code = 90011
	codeManyUsers     Code = 90018
	codeTagLong       Code = 90020
	codeTagRepeated   Code = 90022
	codePushInterval  Code = 90024
	codeLifetimeRange Code = 90026
	codeAttrLength    Code = 90030
	codeManyTags      Code = 90032
	codeAttrUnknown   Code = 90033
	codeMixed         Code = 90039
	codeTagEmpty      Code = 90040
	codeOfflineInfo   Code = 90043
	codeLifetimeType  Code = 90044
	codePushPerDay    Code = 90047
	codeNotImported   Code = 90048
	codeInternal      Code = 91000
	codeTooLong       Code = 93000
)

// internalInfo is all that a caller learns of an internal error.
const internalInfo = "internal error: try again"

// family is how a group of commands calls what every command can meet.
type family struct {
	body     Code // the body is not a JSON object
	field    Code // a field is missing or of a wrong type
	rights   Code // the caller is no admin
	account  Code // no such account
	internal Code
}

var (
	accountsFamily = &family{codeBodyAccounts, codeParameter, codeRightsAccounts, codeNoSuchAccount, codeInternal70}
	pushFamily     = &family{codeBodyPush, codeBodyPush, codeRightsPush, codeNotImported, codeInternal}
	onlineFamily   = &family{codeBodyAccounts, codeParameter, codeRights, codeNoSuchAccount, codeInternal70}
)

// refusal is an error with the code that it is answered with.
type refusal struct {
	code Code
	info string
}

func (r *refusal) Error() string { return r.info }

func refuse(code Code, info string) error { return &refusal{code, info} }

// code is the one place where an error becomes a code and the text that the caller sees. Whatever is not in it is an
// internal error, of which the caller sees no detail.
func (f *family) code(err error) (Code, string) {
	var refused *refusal
	var field *fieldError
	var condition *predicate.Error
	switch {
	case errors.As(err, &refused):
		return refused.code, refused.info
	case errors.As(err, &field):
		return f.field, field.Error()
	case errors.As(err, &condition):
		return f.condition(condition.Kind), condition.Error()
	case errors.Is(err, directory.ErrNoAccount):
		return f.account, err.Error()
	case errors.Is(err, directory.ErrAttrName):
		return codeAttrLength, err.Error()
	case errors.Is(err, usersig.ErrMalformed):
		return codeMalformedSig, err.Error()
	case errors.Is(err, usersig.ErrApp):
		return codeSigApp, err.Error()
	case errors.Is(err, usersig.ErrIdentifier):
		return codeSigIdentifier, err.Error()
	case errors.Is(err, usersig.ErrSignature):
		return codeSignature, err.Error()
	case errors.Is(err, usersig.ErrExpired):
		return codeExpired, err.Error()
	}
	return f.internal, internalInfo
}

func (f *family) condition(k predicate.Kind) Code {
	switch k {
	case predicate.Mixed:
		return codeMixed
	case predicate.TooManyTags:
		return codeManyTags
	case predicate.TagEmpty:
		return codeTagEmpty
	case predicate.TagTooLong:
		return codeTagLong
	case predicate.TagRepeated:
		return codeTagRepeated
	case predicate.AttrInvalid:
		return codeAttrLength
	case predicate.AttrUnknown:
		return codeAttrUnknown
	}
	return f.body // predicate.Malformed, and predicate.Empty: a list has at least one
}
