//! What the differential test asks: the shapes of all commands, and how their replies may be
//! compared.

use super::compare::Rule;

/// One command of the differential test.
pub struct Shape {
    /// The grammar, in the language of [`super::template`].
    pub template: &'static str,
    /// How two correct replies to it may differ.
    pub rule: Rule,
}

const fn exact(template: &'static str) -> Shape {
    Shape { template, rule: Rule::Exact }
}

const fn unordered(template: &'static str) -> Shape {
    Shape { template, rule: Rule::Unordered }
}

const fn pairs(template: &'static str) -> Shape {
    Shape { template, rule: Rule::UnorderedPairs }
}

const fn clock(template: &'static str) -> Shape {
    Shape { template, rule: Rule::Clock }
}

const fn scan(template: &'static str) -> Shape {
    Shape { template, rule: Rule::Scan }
}

const fn random(template: &'static str) -> Shape {
    Shape { template, rule: Rule::Random }
}

const fn pops(template: &'static str) -> Shape {
    Shape { template, rule: Rule::RandomPop }
}

/// Every command that both servers are asked, grouped as in the command table.
pub const SHAPES: &[Shape] = &[
    // Connection.
    exact("PING [ value ]"),
    exact("ECHO value"),
    // Keys.
    exact("DEL key..."),
    exact("UNLINK key..."),
    exact("EXISTS key..."),
    exact("TOUCH key..."),
    exact("TYPE key"),
    exact("EXPIRE key seconds [ ( NX | XX | GT | LT ) ]"),
    exact("PEXPIRE key millis [ ( NX | XX | GT | LT ) ]"),
    exact("EXPIREAT key at [ ( NX | XX | GT | LT ) ]"),
    exact("PEXPIREAT key atmillis [ ( NX | XX | GT | LT ) ]"),
    exact("PEXPIREAT key atmillis ( NX | XX | GT | LT ) ( NX | XX | GT | LT )"),
    clock("TTL key"),
    clock("PTTL key"),
    clock("EXPIRETIME key"),
    clock("PEXPIRETIME key"),
    exact("PERSIST key"),
    unordered("KEYS pattern"),
    scan(
        "SCAN 0 [ MATCH pattern ] [ COUNT count ] \
         [ TYPE ( STRING | HASH | LIST | SET | ZSET | STREAM ) ]",
    ),
    // Strings.
    exact("GET key"),
    exact(
        "SET key value [ ( NX | XX ) ] [ GET ] \
         [ ( EX seconds | PX millis | EXAT at | PXAT atmillis | KEEPTTL ) ]",
    ),
    exact(
        "SET key value [ ( EX seconds | PX millis | EXAT at | PXAT atmillis | KEEPTTL ) ] \
         [ ( NX | XX ) ] [ GET ]",
    ),
    exact("SET key int"),
    exact("SET key float"),
    exact("SETNX key value"),
    exact("SETEX key seconds value"),
    exact("PSETEX key millis value"),
    exact("MGET key..."),
    exact("MSET ( key value )..."),
    exact("MSETNX ( key value )..."),
    exact("GETSET key value"),
    exact("GETDEL key"),
    exact("GETEX key [ ( EX seconds | PX millis | EXAT at | PXAT atmillis | PERSIST ) ]"),
    exact("STRLEN key"),
    exact("APPEND key value"),
    exact("GETRANGE key index index"),
    exact("SUBSTR key index index"),
    exact("SETRANGE key offset value"),
    exact("INCR key"),
    exact("DECR key"),
    exact("INCRBY key int"),
    exact("DECRBY key int"),
    exact("INCRBYFLOAT key float"),
    // Hashes.
    exact("HSET key ( member value )..."),
    exact("HSET key member int"),
    exact("HMSET key ( member value )..."),
    exact("HSETNX key member value"),
    exact("HGET key member"),
    exact("HMGET key member..."),
    pairs("HGETALL key"),
    unordered("HKEYS key"),
    unordered("HVALS key"),
    exact("HLEN key"),
    exact("HSTRLEN key member"),
    exact("HEXISTS key member"),
    exact("HDEL key member..."),
    exact("HINCRBY key member int"),
    exact("HINCRBYFLOAT key member float"),
    random("HRANDFIELD key [ count [ WITHVALUES ] ]"),
    scan("HSCAN key 0 [ MATCH pattern ] [ COUNT count ]"),
    // Sets.
    exact("SADD key member..."),
    exact("SADD key int..."),
    exact("SREM key member..."),
    unordered("SMEMBERS key"),
    exact("SISMEMBER key member"),
    exact("SMISMEMBER key member..."),
    exact("SCARD key"),
    random("SRANDMEMBER key [ count ]"),
    pops("SPOP key [ count ]"),
    exact("SMOVE key key member"),
    unordered("SINTER key..."),
    unordered("SUNION key..."),
    unordered("SDIFF key..."),
    exact("SINTERCARD 1 key [ LIMIT count ]"),
    exact("SINTERCARD 2 key key [ LIMIT count ]"),
    exact("SINTERSTORE key key..."),
    exact("SUNIONSTORE key key..."),
    exact("SDIFFSTORE key key..."),
    scan("SSCAN key 0 [ MATCH pattern ] [ COUNT count ]"),
    // Lists.
    exact("LPUSH key member..."),
    exact("RPUSH key member..."),
    exact("LPUSHX key member..."),
    exact("RPUSHX key member..."),
    exact("LPOP key [ count ]"),
    exact("RPOP key [ count ]"),
    exact("LLEN key"),
    exact("LINDEX key index"),
    exact("LRANGE key index index"),
    exact("LPOS key member [ RANK index ] [ COUNT count ] [ MAXLEN count ]"),
    exact("LSET key index member"),
    exact("LINSERT key ( BEFORE | AFTER ) member member"),
    exact("LREM key index member"),
    exact("LTRIM key index index"),
    exact("LMOVE key key ( LEFT | RIGHT ) ( LEFT | RIGHT )"),
    exact("RPOPLPUSH key key"),
    exact("LMPOP 1 key ( LEFT | RIGHT ) [ COUNT count ]"),
    exact("LMPOP 2 key key ( LEFT | RIGHT ) [ COUNT count ]"),
    // Sorted sets.
    exact("ZADD key [ ( NX | XX ) ] [ ( GT | LT ) ] [ CH ] ( score member )..."),
    exact("ZADD key [ ( NX | XX ) ] [ ( GT | LT ) ] [ CH ] INCR score member"),
    exact("ZADD key ( score member )..."),
    exact("ZREM key member..."),
    exact("ZSCORE key member"),
    exact("ZMSCORE key member..."),
    exact("ZINCRBY key score member"),
    exact("ZRANK key member"),
    exact("ZREVRANK key member"),
    exact("ZCARD key"),
    exact("ZCOUNT key bound bound"),
    exact("ZRANGE key index index [ REV ] [ WITHSCORES ]"),
    exact("ZRANGE key bound bound BYSCORE [ REV ] [ LIMIT index index ] [ WITHSCORES ]"),
    exact("ZRANGEBYSCORE key bound bound [ WITHSCORES ] [ LIMIT index index ]"),
    exact("ZREVRANGE key index index [ WITHSCORES ]"),
    exact("ZREVRANGEBYSCORE key bound bound [ WITHSCORES ] [ LIMIT index index ]"),
    exact("ZPOPMIN key [ count ]"),
    exact("ZPOPMAX key [ count ]"),
    exact("ZREMRANGEBYRANK key index index"),
    exact("ZREMRANGEBYSCORE key bound bound"),
    scan("ZSCAN key 0 [ MATCH pattern ] [ COUNT count ]"),
    // Lexicographic ranges mean something only where all scores are equal: the key `LEX` holds such
    // a set alone.
    exact("ZADD LEX 0 member 0 member 0 member"),
    exact("ZREM LEX member"),
    exact("ZRANGE LEX lex lex BYLEX [ REV ] [ LIMIT index index ]"),
    exact("ZRANGEBYLEX LEX lex lex [ LIMIT index index ]"),
    exact("ZREVRANGEBYLEX LEX lex lex [ LIMIT index index ]"),
    exact("ZLEXCOUNT LEX lex lex"),
    exact("ZREMRANGEBYLEX LEX lex lex"),
];
