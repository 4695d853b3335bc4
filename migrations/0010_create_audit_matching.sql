-- The audit page, its pager and its exports filter in one and the same way.

create function audit_matching(typed text, actions text[], people text[], outcomes text[], since timestamptz)
returns setof audit
language sql stable
as $$
    select *
    from audit
    where (typed = ''
           or id::text = typed
           or request_id = typed
           or strpos(lower(name), lower(typed)) > 0
           or strpos(lower(username), lower(typed)) > 0
           or strpos(lower(target), lower(typed)) > 0)
      and (cardinality(actions) = 0 or action = any (actions))
      and (cardinality(people) = 0 or username = any (people))
      and (cardinality(outcomes) = 0 or outcome = any (outcomes))
      and (since is null or at >= since)
$$;
comment on function audit_matching is 'Rows of the audit trail that fit the filters of its page; an empty filter lets everything through.';
