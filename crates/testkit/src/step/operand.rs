//! Which memory an instruction of x86-64 names, as far as that memory can be shared.
//!
//! Invariants: every store of what rustc and the C library make of ordinary code, atomics and copies is found, since
//! `tests/step_changes.rs` compares with the bytes; an address too many is harmless, since the caller looks whether
//! bytes changed. So an opcode that has no operand byte is read as if it had one, and a load counts as a store.
//!
//! Left out: addresses relative to `fs`, `gs` and the instruction, which are never those of a shared mapping, and
//! scattered stores.

/// The registers in the order in which instructions number them: `rax`, `rcx`, `rdx`, `rbx`, `rsp`, `rbp`, `rsi`, `rdi`
/// and `r8` to `r15`.
pub(super) type Registers = [u64; 16];

pub(super) const RAX: usize = 0;
pub(super) const RDX: usize = 2;
const RDI: usize = 7;

/// Whether `code` begins with a system call.
pub(super) fn is_call(code: &[u8]) -> bool {
    code.starts_with(&[0x0f, 0x05])
}

/// The address that the instruction at the start of `code` names.
pub(super) fn address(code: &[u8], registers: &Registers) -> Option<u64> {
    let mut code = Code { bytes: code, at: 0 };
    let mut extension = Extension { index: 0, base: 0, unit: 1 };
    let opcode = loop {
        match code.next()? {
            0x64 | 0x65 => return None,
            0x26 | 0x2e | 0x36 | 0x3e | 0x66 | 0x67 | 0xf0 | 0xf2 | 0xf3 => {}
            rex @ 0x40..=0x4f => extension.set(rex, 1),
            opcode => break opcode,
        }
    };
    match opcode {
        // movs, stos: one repetition at a time.
        0xa4 | 0xa5 | 0xaa | 0xab => return Some(registers[RDI]),
        0x0f => {
            if matches!(code.next()?, 0x38 | 0x3a) {
                code.next()?;
            }
        }
        // The short and the long prefix of AVX, and that of AVX-512; their bits are inverted.
        0xc5 => code.skip(2)?,
        0xc4 => {
            extension.set(!code.next()? >> 5, 1);
            code.skip(2)?;
        }
        0x62 => {
            extension.set(!code.next()? >> 5, 1);
            code.skip(1)?;
            // Small distances count in units of the whole vector.
            extension.unit = 16 << (code.next()? >> 5 & 3);
            code.skip(1)?;
        }
        _ => {}
    }
    operand(&mut code, registers, &extension)
}

/// What prefixes add to the numbers of registers, and what a small distance counts.
struct Extension {
    index: usize,
    base: usize,
    unit: i64,
}

impl Extension {
    /// The lowest bit is the base's, the next the index'.
    fn set(&mut self, bits: u8, unit: i64) {
        *self = Self { base: usize::from(bits & 1) << 3, index: usize::from(bits >> 1 & 1) << 3, unit };
    }
}

fn operand(code: &mut Code<'_>, registers: &Registers, extension: &Extension) -> Option<u64> {
    let modrm = code.next()?;
    let (mode, mut base) = (modrm >> 6, usize::from(modrm & 7));
    let mut address = 0_u64;
    if mode == 3 || (mode == 0 && base == 5) {
        return None;
    }
    if base == 4 {
        let sib = code.next()?;
        let index = usize::from(sib >> 3 & 7) | extension.index;
        if index != 4 {
            address = registers[index] << (sib >> 6);
        }
        base = usize::from(sib & 7);
    }
    if mode == 0 && base == 5 {
        return Some(address.wrapping_add_signed(code.distance(4)?));
    }
    let distance = match mode {
        0 => 0,
        1 => code.distance(1)? * extension.unit,
        _ => code.distance(4)?,
    };
    Some(address.wrapping_add(registers[base | extension.base]).wrapping_add_signed(distance))
}

struct Code<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Code<'_> {
    fn next(&mut self) -> Option<u8> {
        let byte = self.bytes.get(self.at)?;
        self.at += 1;
        Some(*byte)
    }

    fn skip(&mut self, n: usize) -> Option<()> {
        self.at += n;
        (self.at <= self.bytes.len()).then_some(())
    }

    /// A signed number of so many bytes, 1 or 4.
    fn distance(&mut self, n: usize) -> Option<i64> {
        let bytes = self.bytes.get(self.at..self.at + n)?;
        self.at += n;
        match bytes {
            [byte] => Some(i64::from(byte.cast_signed())),
            bytes => Some(i64::from(i32::from_le_bytes(bytes.try_into().ok()?))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Register n holds n thousand.
    fn of(code: &[u8]) -> Option<u64> {
        address(code, &std::array::from_fn(|n| n as u64 * 1000))
    }

    #[test]
    fn plain_stores() {
        assert_eq!(of(&[0x89, 0x07]), Some(7000)); // mov [rdi], eax
        assert_eq!(of(&[0x88, 0x47, 0xff]), Some(6999)); // mov [rdi-1], al
        assert_eq!(of(&[0x48, 0x89, 0x83, 0, 1, 0, 0]), Some(3256)); // mov [rbx+256], rax
        assert_eq!(of(&[0x4c, 0x89, 0x24, 0x24]), Some(4000)); // mov [rsp], r12
        assert_eq!(of(&[0x41, 0xc7, 0x45, 0x08, 1, 0, 0, 0]), Some(13008)); // mov dword [r13+8], 1
        assert_eq!(of(&[0x4b, 0x89, 0x04, 0xec]), Some(12000 + 13000 * 8)); // mov [r12+r13*8], rax
        assert_eq!(of(&[0x89, 0x04, 0x25, 5, 0, 0, 0]), Some(5)); // mov [5], eax
        assert_eq!(of(&[0xf3, 0xa4]), Some(7000)); // rep movsb
    }

    #[test]
    fn atomic_and_wide_stores() {
        assert_eq!(of(&[0xf0, 0x0f, 0xb1, 0x0e]), Some(6000)); // lock cmpxchg [rsi], ecx
        assert_eq!(of(&[0xf0, 0x49, 0x0f, 0xc7, 0x0f]), Some(15000)); // lock cmpxchg16b [r15]
        assert_eq!(of(&[0x41, 0x0f, 0x11, 0x40, 0x10]), Some(8016)); // movups [r8+16], xmm0
        assert_eq!(of(&[0xc5, 0xfe, 0x7f, 0x07]), Some(7000)); // vmovdqu [rdi], ymm0
        assert_eq!(of(&[0xc4, 0xc1, 0x7e, 0x7f, 0x01]), Some(9000)); // vmovdqu [r9], ymm0
        assert_eq!(of(&[0x62, 0xf1, 0xfe, 0x48, 0x7f, 0x47, 0x01]), Some(7064)); // vmovdqu64 [rdi+64], zmm0
    }

    #[test]
    fn no_shared_memory() {
        assert_eq!(of(&[0x64, 0x89, 0x07]), None); // mov fs:[rdi], eax
        assert_eq!(of(&[0x89, 0xc7]), None); // mov edi, eax
        assert_eq!(of(&[0x89, 0x05, 1, 0, 0, 0]), None); // mov [rip+1], eax
        assert_eq!((of(&[]), of(&[0x89, 0x84]), of(&[0x62, 0xf1])), (None, None, None));
        assert!(is_call(&[0x0f, 0x05, 0x90]) && !is_call(&[0x0f]));
    }
}
