//! The error numbers that are tried, with their names.

/// What the calls fail with, and what file systems, networks and the ring itself are known to
/// answer, the most usual first.
pub(super) const NAMED: &[(&str, i32)] = &[
    ("EPERM", libc::EPERM),
    ("ENOENT", libc::ENOENT),
    ("EINTR", libc::EINTR),
    ("EIO", libc::EIO),
    ("ENXIO", libc::ENXIO),
    ("EBADF", libc::EBADF),
    ("EAGAIN", libc::EAGAIN),
    ("ENOMEM", libc::ENOMEM),
    ("EACCES", libc::EACCES),
    ("EFAULT", libc::EFAULT),
    ("EBUSY", libc::EBUSY),
    ("EEXIST", libc::EEXIST),
    ("EXDEV", libc::EXDEV),
    ("ENOTDIR", libc::ENOTDIR),
    ("EISDIR", libc::EISDIR),
    ("EINVAL", libc::EINVAL),
    ("ENFILE", libc::ENFILE),
    ("EMFILE", libc::EMFILE),
    ("EFBIG", libc::EFBIG),
    ("ENOSPC", libc::ENOSPC),
    ("ESPIPE", libc::ESPIPE),
    ("EROFS", libc::EROFS),
    ("EPIPE", libc::EPIPE),
    ("ENAMETOOLONG", libc::ENAMETOOLONG),
    ("ENOSYS", libc::ENOSYS),
    ("ENOTEMPTY", libc::ENOTEMPTY),
    ("ELOOP", libc::ELOOP),
    ("EPROTO", libc::EPROTO),
    ("EMSGSIZE", libc::EMSGSIZE),
    ("EOPNOTSUPP", libc::EOPNOTSUPP),
    ("EADDRINUSE", libc::EADDRINUSE),
    ("ENETDOWN", libc::ENETDOWN),
    ("EHOSTUNREACH", libc::EHOSTUNREACH),
    ("ECONNABORTED", libc::ECONNABORTED),
    ("ECONNRESET", libc::ECONNRESET),
    ("ENOBUFS", libc::ENOBUFS),
    ("ENOTCONN", libc::ENOTCONN),
    ("ETIMEDOUT", libc::ETIMEDOUT),
    ("ECONNREFUSED", libc::ECONNREFUSED),
    ("EALREADY", libc::EALREADY),
    ("EINPROGRESS", libc::EINPROGRESS),
    ("ESTALE", libc::ESTALE),
    ("EUCLEAN", libc::EUCLEAN),
    ("EDQUOT", libc::EDQUOT),
    ("ECANCELED", libc::ECANCELED),
    ("EOWNERDEAD", libc::EOWNERDEAD),
    ("EHWPOISON", libc::EHWPOISON),
    ("E2BIG", libc::E2BIG),
    ("ENOTBLK", libc::ENOTBLK),
    ("ENODEV", libc::ENODEV),
    ("ENOTTY", libc::ENOTTY),
    ("ETXTBSY", libc::ETXTBSY),
    ("EMLINK", libc::EMLINK),
    ("EDEADLK", libc::EDEADLK),
    ("ENODATA", libc::ENODATA),
    ("ETIME", libc::ETIME),
    ("ENONET", libc::ENONET),
    ("EBADMSG", libc::EBADMSG),
    ("EOVERFLOW", libc::EOVERFLOW),
    ("EILSEQ", libc::EILSEQ),
    ("ENOTSOCK", libc::ENOTSOCK),
    ("EDESTADDRREQ", libc::EDESTADDRREQ),
    ("EPROTOTYPE", libc::EPROTOTYPE),
    ("ENOPROTOOPT", libc::ENOPROTOOPT),
    ("EPROTONOSUPPORT", libc::EPROTONOSUPPORT),
    ("EAFNOSUPPORT", libc::EAFNOSUPPORT),
    ("EADDRNOTAVAIL", libc::EADDRNOTAVAIL),
    ("ENETUNREACH", libc::ENETUNREACH),
    ("ENETRESET", libc::ENETRESET),
    ("EISCONN", libc::EISCONN),
    ("ESHUTDOWN", libc::ESHUTDOWN),
    ("EHOSTDOWN", libc::EHOSTDOWN),
    ("EREMOTEIO", libc::EREMOTEIO),
    ("ENOMEDIUM", libc::ENOMEDIUM),
    ("EKEYREJECTED", libc::EKEYREJECTED),
    ("ENOTRECOVERABLE", libc::ENOTRECOVERABLE),
];

/// The greatest error number of Linux.
const LAST: i32 = libc::EHWPOISON;

/// The numbers to try: the named ones, or with `all` every number there is.
pub(super) fn numbers(all: bool) -> Vec<i32> {
    if all {
        return (1..=LAST).collect();
    }
    NAMED.iter().map(|(_, number)| *number).collect()
}

/// What `number` is called.
pub(super) fn name(number: i32) -> String {
    let named = NAMED.iter().find(|(_, n)| *n == number);
    named.map_or_else(|| format!("errno {number}"), |(name, _)| (*name).to_string())
}
