#include "textflag.h"

// AVX2: 256 vectors of 4 words, four a round.

// func or256(to, a, b *Words)
TEXT ·or256(SB), NOSPLIT, $0-24
	MOVQ to+0(FP), DI
	MOVQ a+8(FP), SI
	MOVQ b+16(FP), DX
	XORQ CX, CX

or:
	VMOVDQU (SI)(CX*1), Y0
	VMOVDQU 32(SI)(CX*1), Y1
	VMOVDQU 64(SI)(CX*1), Y2
	VMOVDQU 96(SI)(CX*1), Y3
	VPOR    (DX)(CX*1), Y0, Y0
	VPOR    32(DX)(CX*1), Y1, Y1
	VPOR    64(DX)(CX*1), Y2, Y2
	VPOR    96(DX)(CX*1), Y3, Y3
	VMOVDQU Y0, (DI)(CX*1)
	VMOVDQU Y1, 32(DI)(CX*1)
	VMOVDQU Y2, 64(DI)(CX*1)
	VMOVDQU Y3, 96(DI)(CX*1)
	ADDQ    $128, CX
	CMPQ    CX, $8192
	JNE     or
	VZEROUPPER
	RET

// func and256(to, a, b *Words)
TEXT ·and256(SB), NOSPLIT, $0-24
	MOVQ to+0(FP), DI
	MOVQ a+8(FP), SI
	MOVQ b+16(FP), DX
	XORQ CX, CX

and:
	VMOVDQU (SI)(CX*1), Y0
	VMOVDQU 32(SI)(CX*1), Y1
	VMOVDQU 64(SI)(CX*1), Y2
	VMOVDQU 96(SI)(CX*1), Y3
	VPAND   (DX)(CX*1), Y0, Y0
	VPAND   32(DX)(CX*1), Y1, Y1
	VPAND   64(DX)(CX*1), Y2, Y2
	VPAND   96(DX)(CX*1), Y3, Y3
	VMOVDQU Y0, (DI)(CX*1)
	VMOVDQU Y1, 32(DI)(CX*1)
	VMOVDQU Y2, 64(DI)(CX*1)
	VMOVDQU Y3, 96(DI)(CX*1)
	ADDQ    $128, CX
	CMPQ    CX, $8192
	JNE     and
	VZEROUPPER
	RET

// func andNot256(to, a, b *Words)
TEXT ·andNot256(SB), NOSPLIT, $0-24
	MOVQ to+0(FP), DI
	MOVQ a+8(FP), SI
	MOVQ b+16(FP), DX
	XORQ CX, CX

andnot:
	VMOVDQU (DX)(CX*1), Y0
	VMOVDQU 32(DX)(CX*1), Y1
	VMOVDQU 64(DX)(CX*1), Y2
	VMOVDQU 96(DX)(CX*1), Y3
	VPANDN  (SI)(CX*1), Y0, Y0
	VPANDN  32(SI)(CX*1), Y1, Y1
	VPANDN  64(SI)(CX*1), Y2, Y2
	VPANDN  96(SI)(CX*1), Y3, Y3
	VMOVDQU Y0, (DI)(CX*1)
	VMOVDQU Y1, 32(DI)(CX*1)
	VMOVDQU Y2, 64(DI)(CX*1)
	VMOVDQU Y3, 96(DI)(CX*1)
	ADDQ    $128, CX
	CMPQ    CX, $8192
	JNE     andnot
	VZEROUPPER
	RET

// func copy512(to *[Bytes]byte, from *Words) (set, runs int)
//
// A run begins where a place is set and the one below it is not: each vector is shifted by one place, and what leaves the
// vector before comes in.
TEXT ·copy512(SB), NOSPLIT, $0-32
	MOVQ   to+0(FP), DI
	MOVQ   from+8(FP), SI
	XORQ   CX, CX
	VPXORQ Z0, Z0, Z0             // set
	VPXORQ Z1, Z1, Z1             // runs
	VPXORQ Z2, Z2, Z2             // the vector before

copy:
	VMOVDQU64 (SI)(CX*1), Z3
	VMOVDQU64 64(SI)(CX*1), Z6
	VMOVDQU64 Z3, (DI)(CX*1)
	VMOVDQU64 Z6, 64(DI)(CX*1)
	VALIGNQ   $7, Z2, Z3, Z4      // each word's lower neighbour
	VALIGNQ   $7, Z3, Z6, Z7
	VPSHLDQ   $1, Z4, Z3, Z4
	VPSHLDQ   $1, Z7, Z6, Z7
	VPANDNQ   Z3, Z4, Z4
	VPANDNQ   Z6, Z7, Z7
	VMOVDQA64 Z6, Z2
	VPOPCNTQ  Z3, Z5
	VPOPCNTQ  Z6, Z8
	VPOPCNTQ  Z4, Z4
	VPOPCNTQ  Z7, Z7
	VPADDQ    Z5, Z0, Z0
	VPADDQ    Z4, Z1, Z1
	VPADDQ    Z8, Z0, Z0
	VPADDQ    Z7, Z1, Z1
	ADDQ      $128, CX
	CMPQ      CX, $8192
	JNE       copy

	VEXTRACTI64X4 $1, Z0, Y2
	VPADDQ        Y2, Y0, Y0
	VEXTRACTI128  $1, Y0, X2
	VPADDQ        X2, X0, X0
	VPSHUFD       $0xee, X0, X2
	VPADDQ        X2, X0, X0
	VMOVQ         X0, AX
	MOVQ          AX, set+16(FP)
	VEXTRACTI64X4 $1, Z1, Y2
	VPADDQ        Y2, Y1, Y1
	VEXTRACTI128  $1, Y1, X2
	VPADDQ        X2, X1, X1
	VPSHUFD       $0xee, X1, X2
	VPADDQ        X2, X1, X1
	VMOVQ         X1, AX
	MOVQ          AX, runs+24(FP)
	VZEROUPPER
	RET

// func breaks512(first *uint16, n int) int
TEXT ·breaks512(SB), NOSPLIT, $0-24
	MOVQ       first+0(FP), SI
	MOVQ       n+8(FP), CX
	XORQ       BX, BX
	VPTERNLOGD $0xff, Z2, Z2, Z2  // -1 in each

breaks:
	VMOVDQU16 (SI), Z0
	VPADDW    Z2, Z0, Z0
	VPCMPW    $4, -2(SI), Z0, K1
	KMOVD     K1, AX
	POPCNTL   AX, AX
	ADDQ      AX, BX
	ADDQ      $64, SI
	DECQ      CX
	JNE       breaks
	MOVQ      BX, ret+16(FP)
	VZEROUPPER
	RET

DATA numbers<>+0(SB)/8, $0x0706050403020100
DATA numbers<>+8(SB)/8, $0x0f0e0d0c0b0a0908
DATA numbers<>+16(SB)/8, $0x1716151413121110
DATA numbers<>+24(SB)/8, $0x1f1e1d1c1b1a1918
DATA numbers<>+32(SB)/8, $0x2726252423222120
DATA numbers<>+40(SB)/8, $0x2f2e2d2c2b2a2928
DATA numbers<>+48(SB)/8, $0x3736353433323130
DATA numbers<>+56(SB)/8, $0x3f3e3d3c3b3a3938
GLOBL numbers<>(SB), RODATA|NOPTR, $64

// func list512(to, last *byte, from *Words) bool
//
// For each word the numbers 0 to 63 whose bits are set move together, and get the word's first place added. As many as 16 are
// written whether there are as many or not.
TEXT ·list512(SB), NOSPLIT, $0-25
	MOVQ         to+0(FP), DI
	MOVQ         last+8(FP), R8
	MOVQ         from+16(FP), SI
	VMOVDQU64    numbers<>(SB), Z0
	VPXORQ       Z1, Z1, Z1       // the word's first place
	MOVQ         $64, AX
	VPBROADCASTW AX, Z2
	XORQ         CX, CX

list:
	CMPQ         DI, R8
	JHI          over
	MOVQ         (SI)(CX*8), AX
	KMOVQ        AX, K1
	VPCOMPRESSB.Z Z0, K1, Z3
	POPCNTQ      AX, DX
	VPMOVZXBW    X3, Y4
	VPADDW       Y1, Y4, Y4
	VMOVDQU      Y4, (DI)
	CMPQ         DX, $16
	JHI          many

next:
	LEAQ   (DI)(DX*2), DI
	VPADDW Z2, Z1, Z1
	INCQ   CX
	CMPQ   CX, $1024
	JNE    list
	MOVB   $1, ret+24(FP)
	VZEROUPPER
	RET

over:
	MOVB $0, ret+24(FP)
	VZEROUPPER
	RET

many:
	VPMOVZXBW     Y3, Z4
	VPADDW        Z1, Z4, Z4
	VMOVDQU64     Z4, (DI)
	VEXTRACTI64X4 $1, Z3, Y3
	VPMOVZXBW     Y3, Z4
	VPADDW        Z1, Z4, Z4
	VMOVDQU64     Z4, 64(DI)
	JMP           next

// func addQuarters(to *Words, first *uint16, n int)
//
// The bits are set in words of 32: neighbours in an array share one less often.
TEXT ·addQuarters(SB), NOSPLIT, $0-24
	MOVQ to+0(FP), DI
	MOVQ first+8(FP), SI
	MOVQ n+16(FP), CX
	LEAQ (SI)(CX*2), R8
	LEAQ (SI)(CX*4), R9
	LEAQ (R8)(CX*4), R10
	MOVL $1, R11
	XORQ DX, DX

add:
	MOVWLZX (SI)(DX*2), AX
	MOVWLZX (R8)(DX*2), BX
	SHLXL   AX, R11, R12
	SHLXL   BX, R11, R13
	SHRL    $5, AX
	SHRL    $5, BX
	ORL     R12, (DI)(AX*4)
	ORL     R13, (DI)(BX*4)
	MOVWLZX (R9)(DX*2), AX
	MOVWLZX (R10)(DX*2), BX
	SHLXL   AX, R11, R12
	SHLXL   BX, R11, R13
	SHRL    $5, AX
	SHRL    $5, BX
	ORL     R12, (DI)(AX*4)
	ORL     R13, (DI)(BX*4)
	INCQ    DX
	CMPQ    DX, CX
	JB      add
	RET
